import { API } from '#libs/contracts';
import type { CallData } from '#libs/service';
import type { Command } from 'commander';
import type { Client } from '../client.ts';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { ago, facts, printable, table } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  type Run,
  withConnection,
  withExamples,
} from '../options.ts';

type Page = CallData<typeof API.outbox.deliveries>;
type ListOptions = ConnectionOptions & {
  target?: string;
  is?: Page['deliveries'][number]['state'];
  limit?: string;
  cursor?: string;
};
type RedriveOptions = ConnectionOptions & { all?: true; target?: string };

/** Redriven by one `--all`. */
const ALL_MAX = 1_000;

export function outboxCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('outbox')
    .summary('signed deliveries on their way: list, show, redrive, discard, status')
    .description('Milestones and demand summaries that are, or were, on their way to targets.');
  withConnection(command.command('status', { isDefault: true }))
    .description('How each target does, in one word, and the ledger of its deliveries.')
    .action((options: ConnectionOptions) => run(() => status(io, options)));
  withConnection(command.command('list'))
    .description('Deliveries, the one queued last first.')
    .option('--target <name>', 'to this target')
    .option('--is <state>', 'pending, retrying, delivered, duplicate, rejected, dead, discarded')
    .option('--limit <number>', 'at most so many', '20')
    .option('--cursor <cursor>', 'the next page of an earlier answer')
    .action((options: ListOptions) => run(() => list(io, options)));
  withConnection(command.command('show <delivery>'))
    .description('One delivery, with its body until that has been taken.')
    .action((id: string, options: ConnectionOptions) => run(() => show(io, id, options)));
  withConnection(command.command('redrive [delivery]'))
    .description('Send a rejected or dead delivery again, under its key; or all of them.')
    .option('--all', 'all that are rejected or dead')
    .option('--target <name>', 'with --all: to this target alone')
    .action((id: string | undefined, options: RedriveOptions) =>
      run(() => redrive(io, id, options)),
    );
  withConnection(command.command('discard <delivery>'))
    .description('Give up a delivery that has not been taken.')
    .action((id: string, options: ConnectionOptions) => run(() => discard(io, id, options)));
  withExamples(command, [
    'outbox',
    'outbox list --is dead',
    'outbox redrive --all --target partner',
  ]);
}

async function status(io: Io, options: ConnectionOptions): Promise<ExitCode> {
  const answer = await connectTo(io, options).call(API.outbox.targets, {});
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const now = Date.now();
  const rows = answer.targets.flatMap(({ target, channels }) =>
    channels.map(({ channel, health, ledger, last_delivered_at, last_error }) => [
      target,
      channel,
      health,
      (ledger.pending ?? 0) + (ledger.retrying ?? 0),
      (ledger.delivered ?? 0) + (ledger.duplicate ?? 0),
      ledger.rejected ?? 0,
      ledger.dead ?? 0,
      ago(last_delivered_at, now),
      last_error,
    ]),
  );
  const heads = [
    'target',
    'channel',
    'health',
    'open',
    'done',
    'rejected',
    'dead',
    'last',
    'error',
  ];
  io.out(
    `${answer.health}\n${table(heads, rows, { colours: io.colours.out, none: 'no targets' })}`,
  );
  return EXIT.ok;
}

async function list(io: Io, options: ListOptions): Promise<ExitCode> {
  const { target, is, limit, cursor } = options;
  const answer = await connectTo(io, options).call(API.outbox.deliveries, {
    ...(target !== undefined && { target }),
    ...(is !== undefined && { state: is }),
    ...(limit !== undefined && { limit }),
    ...(cursor !== undefined && { cursor }),
  });
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const now = Date.now();
  const rows = answer.deliveries.map((one) => [
    one.target,
    one.state,
    one.attempts,
    ago(one.queued_at, now),
    one.item_id,
    one.last_error,
  ]);
  const heads = ['target', 'state', 'attempts', 'queued', 'item', 'error'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no deliveries' }));
  // An id is longer than a cell.
  for (const { delivery_id, state: at } of answer.deliveries) {
    if (at === 'dead' || at === 'rejected') io.err(`redrive: ${delivery_id}`);
  }
  if (answer.next_cursor !== null) io.err(`more: --cursor ${answer.next_cursor}`);
  return EXIT.ok;
}

async function show(io: Io, id: string, options: ConnectionOptions): Promise<ExitCode> {
  const one = await connectTo(io, options).call(API.outbox.delivery, { delivery_id: id });
  if (options.json) {
    io.out(JSON.stringify(one));
    return EXIT.ok;
  }
  io.out(
    facts([
      ['delivery', one.delivery_id],
      ['item', one.item_id],
      ['target', one.target],
      ['state', one.state],
      ['attempts', one.attempts],
      ['queued', one.queued_at],
      ['next', one.next_attempt_at],
      ['last', one.last_attempt_at],
      ['settled', one.settled_at],
      ['error', one.last_error],
      ['key', one.idempotency_key],
    ]),
  );
  if (one.body !== null) io.out(`\n${printable(one.body)}`);
  return EXIT.ok;
}

async function redrive(io: Io, id: string | undefined, options: RedriveOptions): Promise<ExitCode> {
  if ((id === undefined) === (options.all === undefined)) {
    throw usage('name one delivery, or say --all', 'See: ironclaw outbox list --is dead');
  }
  const client = connectTo(io, options);
  const ids = id === undefined ? await redrivable(client, options.target) : [id];
  const done = [];
  for (const delivery_id of ids) done.push(await client.call(API.outbox.redrive, { delivery_id }));
  if (options.json) io.out(JSON.stringify({ redriven: done }));
  else io.out(done.length === 1 ? `${ids[0]} is sent again` : `${done.length} are sent again`);
  return EXIT.ok;
}

/** Ids of what may be redriven, in the order in which it was queued. */
async function redrivable(client: Client, target: string | undefined): Promise<string[]> {
  const ids: string[] = [];
  for (const state of ['rejected', 'dead'] as const) {
    let cursor: string | undefined;
    do {
      const page = await client.call(API.outbox.deliveries, {
        state,
        ...(target !== undefined && { target }),
        ...(cursor !== undefined && { cursor }),
      });
      ids.push(...page.deliveries.map(({ delivery_id }) => delivery_id));
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined && ids.length < ALL_MAX);
  }
  return ids.toReversed();
}

async function discard(io: Io, id: string, options: ConnectionOptions): Promise<ExitCode> {
  const answer = await connectTo(io, options).call(API.outbox.discard, { delivery_id: id });
  io.out(options.json ? JSON.stringify(answer) : `${id} is discarded`);
  return EXIT.ok;
}
