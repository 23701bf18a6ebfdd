import { benchGate } from './gate.ts';
import { benchIngest } from './ingest/ingest.ts';
import { benchLedger } from './ledger/ledger.ts';
import { closeLabs, openLab } from './lab.ts';
import { type BenchOptions, HELP, readOptions, UsageError } from './options.ts';
import { benchOrchestrator } from './orchestrator.ts';
import { benchOrders } from './orders/orders.ts';
import { benchProjects } from './projects/projects.ts';
import { formatReport, machineNow, type MemoryRow, type Report, type Row } from './report.ts';

async function run(options: BenchOptions): Promise<Report> {
  const startedAt = performance.now();
  const machine = machineNow(await brokerVersion());
  const say = (text: string): void => console.error(`bench ${options.bench}: ${text}`);
  const measured: { rows: Row[]; memory: MemoryRow[] } =
    options.bench === 'ledger'
      ? await benchLedger(options, say)
      : { rows: await ROWS[options.bench](options, say), memory: [] };
  const { bench, quick, sync, events } = options;
  return {
    bench,
    at: new Date().toISOString(),
    machine,
    options: { quick, sync, events },
    seconds: (performance.now() - startedAt) / 1_000,
    ...measured,
  };
}

/** Every bench but that of the ledger, which measures memory too. */
const ROWS = {
  orders: benchOrders,
  ingest: benchIngest,
  gate: benchGate,
  projects: benchProjects,
  'orchestrator-api': benchOrchestrator,
};

async function brokerVersion(): Promise<string> {
  await using lab = openLab('2m');
  const server = await lab.broker();
  return (await server.connect()).serverVersion;
}

/** Set when the bench was told to stop: what fails from then on has failed for that. */
let stopping: Promise<void> | undefined;

async function main(argv: readonly string[]): Promise<number> {
  try {
    const options = readOptions(argv);
    if (options === 'help') {
      console.log(HELP);
      return 0;
    }
    const report = await run(options);
    console.log(options.json ? JSON.stringify(report, null, 2) : formatReport(report));
    return 0;
  } catch (error) {
    await stopping;
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${HELP}`);
    return 2;
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    stopping = closeLabs().finally(() => process.exit(130));
  });
}
process.exitCode = await main(process.argv.slice(2));
