import { type AnyEvent, AppError, invalid, LIMITS } from '#libs/contracts';
import {
  type AppendContext,
  type Appended,
  appended,
  type Expect,
  findInAggregate,
  isVersionConflict,
  publishUntil,
  refused,
  sameOrConflict,
  versionConflict,
} from './append.ts';
import { encodeEvent } from './codec.ts';
import { type Ack, CODES, type PublishHeaders } from './publisher.ts';
import { LEDGER_STREAM, ledgerSubject } from './subjects.ts';

/** One event of a batch. `expect` may stand only on the first event of its aggregate. */
export type BatchEntry = { event: AnyEvent; expect?: Expect; tsGiven?: boolean };

export type BatchOptions = {
  /** Unique for each try: the broker holds half-sent batches by this id. */
  newBatchId: () => string;
  timeoutMs?: number;
};

export type BatchOutcome =
  | { kind: 'stored'; events: Appended[] }
  /** At least one id is stored already; nothing of the batch was written. */
  | { kind: 'duplicates' };

const TRY_MS = 5_000;
const BATCH_TIMEOUT_MS = 10_000;

/**
 * Appends events atomically: all or none, in the order given, one after the other in the stream.
 * @throws {VERSION_CONFLICT} an aggregate is not at its `expect` · {DEPENDENCY_UNAVAILABLE}
 * · {PAYLOAD_TOO_LARGE} more than LIMITS.batchEvents, or one event too large
 */
export async function publishBatch(
  context: AppendContext,
  entries: readonly BatchEntry[],
  options: BatchOptions,
): Promise<BatchOutcome> {
  checkEntries(entries);
  const messages = entries.map(({ event, expect }) => ({
    subject: ledgerSubject(event),
    data: encodeEvent(event),
    id: event.event_id,
    expect: expect ?? 'any',
  }));
  const ack = await publishUntil(context, options.timeoutMs ?? BATCH_TIMEOUT_MS, () =>
    sendBatch(context, messages, options.newBatchId()),
  );
  if (ack.kind === 'stored') {
    // The ack names the last sequence; a batch lies in the stream without gaps.
    const first = ack.seq - entries.length + 1;
    return {
      kind: 'stored',
      events: entries.map(({ event }, i) => appended(event, first + i, false)),
    };
  }
  if (ack.errCode === CODES.batchDuplicate) return { kind: 'duplicates' };
  if (isVersionConflict(ack)) return resolveConflict(context, entries, ack);
  throw refused(ack);
}

type Message = { subject: string; data: Uint8Array; id: string; expect: Expect };

/** ADR-50: the first is a request (an empty answer is yes), the last one commits. */
async function sendBatch(
  context: AppendContext,
  messages: Message[],
  batchId: string,
): Promise<Ack> {
  const { publisher } = context;
  const hdrs = (index: number): PublishHeaders =>
    batchHeaders(messages[index] as Message, batchId, index, messages.length);
  const at = (index: number): Message => messages[index] as Message;
  const last = messages.length - 1;
  if (last > 0) {
    const first = await publisher.publish(at(0).subject, at(0).data, hdrs(0), TRY_MS);
    if (first.kind !== 'stored') return first;
  }
  for (let i = 1; i < last; i += 1) publisher.send(at(i).subject, at(i).data, hdrs(i));
  return publisher.publish(at(last).subject, at(last).data, hdrs(last), TRY_MS);
}

function batchHeaders(
  message: Message,
  batchId: string,
  index: number,
  count: number,
): PublishHeaders {
  return {
    'Nats-Msg-Id': message.id,
    'Nats-Expected-Stream': LEDGER_STREAM,
    ...(message.expect !== 'any' && {
      'Nats-Expected-Last-Subject-Sequence': String(message.expect),
    }),
    'Nats-Batch-Id': batchId,
    'Nats-Batch-Sequence': String(index + 1),
    ...(index === count - 1 && { 'Nats-Batch-Commit': '1' }),
  };
}

/** A refused version may be this very batch, stored by a try whose answer was lost. */
async function resolveConflict(
  context: AppendContext,
  entries: readonly BatchEntry[],
  ack: Ack,
): Promise<BatchOutcome> {
  const conditional = entries.find(({ expect }) => typeof expect === 'number');
  if (conditional === undefined) throw refused(ack);
  const events: Appended[] = [];
  for (const { event, tsGiven } of entries) {
    const after = entries.find(
      (entry) =>
        typeof entry.expect === 'number' && ledgerSubject(entry.event) === ledgerSubject(event),
    );
    const stored = await findInAggregate(
      context.broker,
      event,
      typeof after?.expect === 'number' ? after.expect : 0,
    );
    if (stored === undefined) {
      throw versionConflict(ledgerSubject(conditional.event), conditional.expect as number, ack);
    }
    events.push(sameOrConflict(stored, event, tsGiven ?? true));
  }
  return { kind: 'stored', events };
}

function checkEntries(entries: readonly BatchEntry[]): void {
  if (entries.length === 0) throw new Error('a batch needs an event');
  if (entries.length > LIMITS.batchEvents) {
    throw new AppError(
      'PAYLOAD_TOO_LARGE',
      { what: 'batch', limit: `${LIMITS.batchEvents} events` },
      { field: 'events' },
    );
  }
  const ids = new Set<string>();
  for (const [index, { event }] of entries.entries()) {
    if (ids.has(event.event_id))
      throw invalid(`events[${index}].event_id`, 'stands twice in this batch');
    ids.add(event.event_id);
  }
}
