import { API, type PolicyDocument } from '#libs/contracts';
import type { CallData } from '#libs/service';
import type { Command } from 'commander';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { ago, facts, span, table } from '../format.ts';
import type { Io } from '../io.ts';
import { type ConnectionOptions, connectTo, withConnection, withExamples } from '../options.ts';

type PolicyOptions = ConnectionOptions & { theater?: string; by?: string };
type Standing = CallData<typeof API.learning.policy>;

/** What a version's entry holds beyond its number. */
type Version = { version: number; reason?: string; by?: string | null; ts?: string };
type Change = { path: string; before?: unknown; after?: unknown };

export function policyCommand(
  program: Command,
  run: (work: () => Promise<ExitCode>) => void,
  io: Io,
) {
  const command = program
    .command('policy')
    .summary('which profile does what: the routing policy of a theater')
    .description('Routing policies are made from how orders ended; plans follow the newest one.');
  const add = (name: string, description: string, options?: { isDefault: true }): Command => {
    const sub = command.command(name, options).description(description);
    return withConnection(sub).option('--theater <id>', 'of this theater (IRONCLAW_THEATER, main)');
  };
  add('show', 'The policy in force, and the numbers it was made from.', { isDefault: true }).action(
    (options: PolicyOptions) => run(() => show(io, options)),
  );
  add('history', 'All versions, newest first.').action((options: PolicyOptions) =>
    run(() => history(io, options)),
  );
  add('diff <from> <to>', 'What changed between two versions.').action(
    (from: string, to: string, options: PolicyOptions) => run(() => diff(io, from, to, options)),
  );
  add('pin [version]', 'Hold the policy in force, or an earlier version, against new ones.')
    .option('--by <name>', 'who decides so')
    .action((version: string | undefined, options: PolicyOptions) =>
      run(() => pin(io, version, options)),
    );
  add('unpin', 'Let learning make new versions again.')
    .option('--by <name>', 'who decides so')
    .action((options: PolicyOptions) => run(() => unpin(io, options)));
  add('rollback <version>', 'Make an earlier version the policy in force, as a new version.')
    .option('--by <name>', 'who decides so')
    .action((version: string, options: PolicyOptions) => run(() => rollback(io, version, options)));
  withExamples(command, ['policy', 'policy history --theater demo', 'policy rollback 3 --by ana']);
}

async function show(io: Io, options: PolicyOptions): Promise<ExitCode> {
  const client = connectTo(io, options);
  return tell(io, options, await client.call(API.learning.policy, at(io, options)));
}

async function history(io: Io, options: PolicyOptions): Promise<ExitCode> {
  const answer = await connectTo(io, options).call(API.learning.history, at(io, options));
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const now = Date.now();
  const rows = (answer.versions as Version[]).map(({ version, ts, by, reason }) => [
    version,
    ago(ts, now),
    by,
    reason,
  ]);
  const heads = ['version', 'made', 'by', 'reason'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no policy was made yet' }));
  return EXIT.ok;
}

async function diff(io: Io, from: string, to: string, options: PolicyOptions): Promise<ExitCode> {
  const input = { ...at(io, options), from: numberOf(from), to: numberOf(to) };
  const answer = await connectTo(io, options).call(API.learning.diff, input);
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const rows = (answer.changes as Change[]).map(({ path, before, after }) => [
    path,
    text(before),
    text(after),
  ]);
  const none = 'no difference';
  io.out(table(['what', `in ${from}`, `in ${to}`], rows, { colours: io.colours.out, none }));
  return EXIT.ok;
}

async function pin(io: Io, version: string | undefined, options: PolicyOptions): Promise<ExitCode> {
  const input = {
    ...at(io, options),
    ...(version !== undefined && { version: numberOf(version) }),
    ...by(options),
  };
  return tell(io, options, await connectTo(io, options).call(API.learning.pin, input));
}

async function unpin(io: Io, options: PolicyOptions): Promise<ExitCode> {
  const input = { ...at(io, options), pinned: false, ...by(options) };
  return tell(io, options, await connectTo(io, options).call(API.learning.pin, input));
}

async function rollback(io: Io, version: string, options: PolicyOptions): Promise<ExitCode> {
  const input = { ...at(io, options), version: numberOf(version), ...by(options) };
  return tell(io, options, await connectTo(io, options).call(API.learning.rollback, input));
}

function tell(io: Io, options: PolicyOptions, standing: Standing): ExitCode {
  const { policy, pinned, theater_id } = standing;
  if (options.json) {
    io.out(JSON.stringify(standing));
    return EXIT.ok;
  }
  if (policy === null) {
    io.out(`no policy was made for theater ${theater_id} yet`);
    return EXIT.ok;
  }
  io.out(
    facts([
      ['theater', theater_id],
      ['version', `${policy.version}${pinned ? ', pinned' : ''}`],
      ['events', `${policy.window.from_seq} to ${policy.window.to_seq}`],
      ['exploring', `${Math.round(policy.exploration * 100)} % of orders`],
      ['reason', policy.reason],
    ]),
  );
  io.out(`\n${cells(io, policy)}`);
  return EXIT.ok;
}

function cells(io: Io, { cells: all, routes }: PolicyDocument): string {
  const rows = all.map((cell) => [
    cell.task_type,
    cell.profile,
    routes[cell.task_type]?.profile === cell.profile ? 'preferred' : null,
    cell.orders,
    `${Math.round(cell.success_rate * 100)} %`,
    cell.score,
    cell.corrected,
    cell.retries,
    span(cell.latency_ms.p50),
    span(cell.latency_ms.p99),
    `$${(cell.cost_micro_usd / 1e6).toFixed(4)}`,
  ]);
  const numbers = ['orders', 'good', 'score', 'corrected', 'retries', 'p50', 'p99', 'cost'];
  const heads = ['task', 'profile', '', ...numbers];
  return table(heads, rows, { colours: io.colours.out, none: 'no numbers' });
}

const at = (io: Io, { theater }: PolicyOptions) => ({
  theater_id: theater ?? (io.env.IRONCLAW_THEATER || 'main'),
});
const by = (options: PolicyOptions) => (options.by === undefined ? {} : { by: options.by });
const text = (value: unknown): string | null =>
  typeof value === 'string' || typeof value === 'number' ? `${value}` : null;

function numberOf(version: string): number {
  if (/^[1-9]\d{0,8}$/.test(version)) return Number(version);
  throw usage(`${version} is no version number`, 'See: ironclaw policy history');
}
