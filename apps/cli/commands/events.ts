import { API, type StoredEvent } from '#libs/contracts';
import type { Command } from 'commander';
import { eventLine } from '../event-line.ts';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  withConnection,
  withExamples,
  type Run,
} from '../options.ts';
import { listenForSignals } from '../signals.ts';

type EventsOptions = ConnectionOptions & {
  run?: string;
  order?: string;
  theater?: string;
  type?: string;
  since?: string;
  until?: string;
  fromSeq?: string;
  limit?: string;
  follow?: true;
};

export function eventsCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('events')
    .summary('search events, or follow them as they land')
    .description(
      'Events in the sequence of the ledger: the newest that match, or from --from-seq on. ' +
        'With --follow those that land from now on, or from --from-seq, until Ctrl-C; its JSON is one event a line.',
    )
    .option('--run <id>', 'of this run')
    .option('--order <id>', 'of this order')
    .option('--theater <id>', 'of this theater')
    .option('--type <type>', 'of this type, as ORDER_COMPLETED')
    .option('--since <time>', 'not before: ISO-8601 in UTC, or a span as 15m, 2h, 3d')
    .option('--until <time>', 'not after, written the same way')
    .option('--from-seq <number>', 'from this sequence on')
    .option('--limit <number>', 'at most so many (100)')
    .option('-f, --follow', 'wait for more')
    .action((options: EventsOptions) => run(() => events(io, options)));
  withExamples(withConnection(command), [
    'events --since 15m',
    'events --run 01KAH3… --json',
    'events --follow --type ORDER_COMPLETED',
  ]);
}

async function events(io: Io, options: EventsOptions): Promise<ExitCode> {
  const { run, order, theater, type, since, until, fromSeq, limit } = options;
  const filter = {
    ...(theater !== undefined && { theater_id: theater }),
    ...(run !== undefined && { run_id: run }),
    ...(order !== undefined && { order_id: order }),
    ...(type !== undefined && { type: type.toUpperCase() }),
    ...(fromSeq !== undefined && { from_seq: fromSeq }),
  };
  if (options.follow) {
    if (since !== undefined || until !== undefined || limit !== undefined) {
      const fix = 'Leave out --since, --until and --limit, or leave out --follow.';
      throw usage('--follow begins at a sequence, not at a time', fix);
    }
    return follow(io, options, filter);
  }
  const now = Date.now();
  const answer = await connectTo(io, options).call(API.gateway.events, {
    ...filter,
    ...(since !== undefined && { since: timeOf(since, now) }),
    ...(until !== undefined && { until: timeOf(until, now) }),
    ...(limit !== undefined && { limit }),
    order: fromSeq === undefined ? 'desc' : 'asc',
  });
  const found = (answer.events as StoredEvent[]).toSorted((a, b) => a.seq - b.seq);
  if (options.json) {
    io.out(JSON.stringify({ ...answer, events: found }));
    return EXIT.ok;
  }
  for (const event of found) io.out(eventLine(event, io.colours.out));
  if (found.length === 0) io.out('no events');
  else if (answer.next_cursor !== null) {
    const next =
      fromSeq === undefined
        ? '--limit 1000, or --from-seq 1'
        : `--from-seq ${(found.at(-1)?.seq ?? 0) + 1}`;
    io.err(`there are more: ${next}`);
  }
  return EXIT.ok;
}

async function follow(
  io: Io,
  options: EventsOptions,
  filter: Record<string, string>,
): Promise<ExitCode> {
  const signals = listenForSignals();
  const stream = connectTo(io, options).follow(API.gateway.stream, filter, signals.stop);
  for await (const event of stream) {
    io.out(options.json ? JSON.stringify(event) : eventLine(event, io.colours.out));
  }
  signals.release();
  return EXIT.ok;
}

const SPAN_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time as it was given, or so long before now. */
export function timeOf(text: string, nowMs: number): string {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  if (match === null) return text;
  return new Date(nowMs - Number(match[1]) * (SPAN_MS[match[2] ?? ''] ?? 0)).toISOString();
}
