import { setTimeout as sleep } from 'node:timers/promises';
import { API } from '#libs/contracts';
import type { CallData } from '#libs/service';
import type { Command } from 'commander';
import type { Client } from '../client.ts';
import { EXIT, type ExitCode } from '../failure.ts';
import { table } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  withConnection,
  withExamples,
  type Run,
} from '../options.ts';

type Views = CallData<typeof API.ledger.views>;
type RebuildOptions = ConnectionOptions & { wait: boolean };
type AnomalyOptions = ConnectionOptions & { run?: string; order?: string; limit?: string };

const POLL_MS = 500;

export function viewsCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('views')
    .summary('the views: where they stand, rebuild, anomalies')
    .description('Views are made from the events, and can be made again at any time.');
  const status = command
    .command('status', { isDefault: true })
    .description('Where each view stands against the stream. Exit code 1 where one has failed.')
    .action((options: ConnectionOptions) => run(() => showViews(io, options)));
  withConnection(status);
  const rebuild = command
    .command('rebuild')
    .description('Make the views anew beside the served ones, and swap them in.')
    .option('--no-wait', 'do not wait until it is done')
    .action((options: RebuildOptions) => run(() => rebuildViews(io, options)));
  withConnection(rebuild);
  const anomalies = command
    .command('anomalies')
    .description('Events that changed no status, because the state tables forbid it.')
    .option('--run <id>', 'of this run')
    .option('--order <id>', 'of this order')
    .option('--limit <number>', 'at most so many', '20')
    .action((options: AnomalyOptions) => run(() => listAnomalies(io, options)));
  withConnection(anomalies);
  withExamples(command, ['views', 'views rebuild', 'views anomalies --run 01KAH3…']);
}

async function showViews(io: Io, options: ConnectionOptions): Promise<ExitCode> {
  return tell(io, options, await connectTo(io, options).call(API.ledger.views, {}));
}

async function rebuildViews(io: Io, options: RebuildOptions): Promise<ExitCode> {
  const client = connectTo(io, options);
  await client.call(API.ledger.rebuildViews, {});
  if (!options.wait) io.err('the rebuild has begun; see: ironclaw views');
  else await waitForRebuild(io, client);
  return tell(io, options, await client.call(API.ledger.views, {}));
}

async function waitForRebuild(io: Io, client: Client): Promise<void> {
  for (let said = ''; ; ) {
    const { views } = await client.call(API.ledger.views, {});
    const busy = views.filter(({ state }) => state === 'rebuilding');
    if (busy.length === 0) return;
    const line = `rebuilding ${busy.map(({ name }) => name).join(', ')}`;
    if (line !== said) io.err(line);
    said = line;
    await sleep(POLL_MS);
  }
}

function tell(io: Io, options: ConnectionOptions, { views, poison }: Views): ExitCode {
  if (options.json) {
    io.out(JSON.stringify({ views, poison }));
  } else {
    const rows = views.map((view) => [
      view.name,
      view.state,
      view.seq,
      view.stream_seq,
      view.lag,
      view.poison,
    ]);
    const heads = ['view', 'state', 'at', 'stream at', 'behind', 'set aside'];
    io.out(table(heads, rows, { colours: io.colours.out, none: 'no views' }));
    if (poison.length > 0) {
      io.out(`\nset aside: ${poison.map(({ seq }) => seq).join(' ')}`);
    }
  }
  return views.some(({ state }) => state === 'failed') ? EXIT.failed : EXIT.ok;
}

async function listAnomalies(io: Io, options: AnomalyOptions): Promise<ExitCode> {
  const { run, order, limit } = options;
  const answer = await connectTo(io, options).call(API.ledger.anomalies, {
    ...(run !== undefined && { run_id: run }),
    ...(order !== undefined && { order_id: order }),
    ...(limit !== undefined && { limit }),
  });
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const rows = answer.anomalies.map((one) => [
    one.seq,
    one.type,
    one.kind,
    one.order_id,
    one.detail,
  ]);
  const heads = ['seq', 'type', 'kind', 'order', 'detail'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no anomalies' }));
  return EXIT.ok;
}
