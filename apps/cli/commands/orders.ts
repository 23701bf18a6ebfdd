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

type ListOptions = ConnectionOptions & {
  run?: string;
  theater?: string;
  status?: string;
  limit?: string;
  cursor?: string;
};

/** What an order's view holds beyond the declared fields. */
type OrderView = {
  order_id: string;
  run_id: string | null;
  theater_id: string | null;
  status: string;
  step?: string | null;
  attempt: number;
  unit_id: string | null;
  objective: string | null;
  updated_at?: string;
  duration_ms?: number | null;
  commit_sha: string | null;
  integration?: { state: string; commit_sha?: string } | null;
  worktree?: { path: string | null; state: string } | null;
  last_error?: { code: string; message: string } | null;
  artifacts: readonly { path: string; type: string }[];
};

export function ordersCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('orders')
    .summary('list orders, or show one')
    .description('Orders: the pieces of work of a run.');
  const list = command
    .command('list', { isDefault: true })
    .description('Orders, newest first.')
    .option('--run <id>', 'of this run')
    .option('--theater <id>', 'of this theater')
    .option(
      '--status <status>',
      'QUEUED, CLAIMED, RUNNING, BLOCKED, COMPLETED, FAILED or CANCELLED',
    )
    .option('--limit <number>', 'at most so many', '20')
    .option('--cursor <cursor>', 'the next page of an earlier answer')
    .action((options: ListOptions) => run(() => listOrders(io, options)));
  withConnection(list);
  const show = command
    .command('show <order-id>')
    .description('One order: its status, attempts, worktree, commit and artifacts.')
    .action((id: string, options: ConnectionOptions) => run(() => showOrder(io, id, options)));
  withConnection(show);
  const cancel = command
    .command('cancel <order-id>')
    .description('Ends one order; its unit is stopped, and its run fails.')
    .option('--reason <text>', 'why')
    .action((id: string, options: CancelOptions) => run(() => cancelOrder(io, id, options)));
  withConnection(cancel);
  withExamples(command, ['orders', 'orders --run 01KAH3… --status FAILED', 'orders show ord_01…']);
}

async function listOrders(io: Io, options: ListOptions): Promise<ExitCode> {
  const { run, theater, status, limit, cursor } = options;
  const answer = await connectTo(io, options).call(API.gateway.orders, {
    ...(run !== undefined && { run_id: run }),
    ...(theater !== undefined && { theater_id: theater }),
    // The schema refuses what is no status.
    ...(status !== undefined && { status: status.toUpperCase() as 'QUEUED' }),
    ...(limit !== undefined && { limit }),
    ...(cursor !== undefined && { cursor }),
  });
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const now = Date.now();
  const rows = (answer.orders as OrderView[]).map((one) => [
    one.order_id,
    one.status,
    one.attempt,
    one.step,
    one.integration?.state,
    ago(one.updated_at, now),
    one.objective,
  ]);
  const heads = ['order', 'status', 'attempt', 'step', 'integration', 'updated', 'objective'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no orders' }));
  if (answer.next_cursor !== null) io.err(`more: --cursor ${answer.next_cursor}`);
  return EXIT.ok;
}

type CancelOptions = ConnectionOptions & { reason?: string };

async function cancelOrder(io: Io, order_id: string, options: CancelOptions): Promise<ExitCode> {
  const { reason } = options;
  const input = { order_id, ...(reason !== undefined && { reason }) };
  const answer = await connectTo(io, options).call(API.co.cancelOrder, input);
  io.out(options.json ? JSON.stringify(answer) : `${order_id} is cancelled`);
  return EXIT.ok;
}

async function showOrder(io: Io, orderId: string, options: ConnectionOptions): Promise<ExitCode> {
  const order = await connectTo(io, options).call(API.gateway.order, { order_id: orderId });
  if (options.json) {
    io.out(JSON.stringify(order));
    return EXIT.ok;
  }
  const view = order as typeof order & OrderView;
  const { last_error: error, integration } = view;
  io.out(
    facts([
      ['order', view.order_id],
      ['status', view.status],
      ['attempt', view.attempt],
      ['step', view.step],
      ['objective', view.objective],
      ['run', view.run_id],
      ['theater', view.theater_id],
      ['unit', view.unit_id],
      ['worktree', view.worktree && `${view.worktree.state} ${view.worktree.path ?? ''}`],
      ['commit', view.commit_sha],
      ['integration', integration && `${integration.state} ${integration.commit_sha ?? ''}`],
      ['took', view.duration_ms == null ? null : span(view.duration_ms)],
      ['last error', error && `${error.code}: ${error.message}`],
    ]),
  );
  if (view.artifacts.length > 0) {
    const rows = view.artifacts.map(({ path, type }) => [path, type]);
    io.out(`\n${table(['artifact', 'type'], rows, { colours: io.colours.out, none: '' })}`);
  }
  return EXIT.ok;
}
