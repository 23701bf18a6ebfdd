import { API } from '#libs/contracts';
import type { Command } from 'commander';
import { EXIT, type ExitCode } from '../failure.ts';
import { ago, facts, span, table } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  withConnection,
  withExamples,
  type Run,
} from '../options.ts';
import { addRunControl } from './run-control.ts';

type ListOptions = ConnectionOptions & {
  theater?: string;
  status?: string;
  limit?: string;
  cursor?: string;
};

/** What a run's view holds beyond the declared fields. */
type RunView = {
  run_id: string;
  theater_id: string | null;
  status: string;
  objective: string | null;
  created_at: string;
  ended_at: string | null;
  order_ids: readonly string[];
  playbook?: string | null;
  duration_ms?: number | null;
  artifacts?: readonly { path: string; commit_sha: string; order_id: string }[];
};

export function runsCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('runs')
    .summary('list, show and steer runs')
    .description('Runs and their replies.');
  const list = command
    .command('list', { isDefault: true })
    .description('Runs, newest first.')
    .option('--theater <id>', 'of this theater')
    .option('--status <status>', 'OPEN, COMPLETE, FAILED or CANCELLED')
    .option('--limit <number>', 'at most so many', '20')
    .option('--cursor <cursor>', 'the next page of an earlier answer')
    .action((options: ListOptions) => run(() => listRuns(io, options)));
  withConnection(list);
  const show = command
    .command('show <run-id>')
    .description('One run: its status, orders, artifacts and reply.')
    .action((runId: string, options: ConnectionOptions) => run(() => showRun(io, runId, options)));
  withConnection(show);
  addRunControl(command, run, io);
  withExamples(command, [
    'runs',
    'runs --status OPEN --json',
    'runs show 01KAH3…',
    'runs cancel 01KAH3… --reason "not needed"',
    'runs pause --theater demo',
    'runs feedback 01KAH3… corrected --correction "It is 42."',
  ]);
}

async function listRuns(io: Io, options: ListOptions): Promise<ExitCode> {
  const { theater, status, limit, cursor } = options;
  const answer = await connectTo(io, options).call(API.gateway.runs, {
    ...(theater !== undefined && { theater_id: theater }),
    // The schema refuses what is no status.
    ...(status !== undefined && { status: status.toUpperCase() as 'OPEN' }),
    ...(limit !== undefined && { limit }),
    ...(cursor !== undefined && { cursor }),
  });
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const now = Date.now();
  const rows = (answer.runs as RunView[]).map((one) => [
    one.run_id,
    one.status,
    one.theater_id,
    one.order_ids.length,
    ago(one.created_at, now),
    one.objective,
  ]);
  const heads = ['run', 'status', 'theater', 'orders', 'created', 'objective'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no runs' }));
  if (answer.next_cursor !== null) io.err(`more: --cursor ${answer.next_cursor}`);
  return EXIT.ok;
}

async function showRun(io: Io, runId: string, options: ConnectionOptions): Promise<ExitCode> {
  const run = await connectTo(io, options).call(API.gateway.run, { run_id: runId });
  if (options.json) {
    io.out(JSON.stringify(run));
    return EXIT.ok;
  }
  const view = run as typeof run & RunView;
  const now = Date.now();
  io.out(
    facts([
      ['run', view.run_id],
      ['status', view.status],
      ['summary', view.summary],
      ['objective', view.objective],
      ['theater', view.theater_id],
      ['playbook', view.playbook],
      ['created', `${view.created_at} (${ago(view.created_at, now)})`],
      ['took', view.duration_ms == null ? null : span(view.duration_ms)],
      ['orders', view.order_ids.join(' ')],
    ]),
  );
  const artifacts = view.artifacts ?? [];
  if (artifacts.length > 0) {
    const rows = artifacts.map(({ path, commit_sha }) => [path, commit_sha.slice(0, 10)]);
    io.out(`\n${table(['artifact', 'commit'], rows, { colours: io.colours.out, none: '' })}`);
  }
  if (view.reply !== null) io.out(`\n${view.reply}`);
  return EXIT.ok;
}
