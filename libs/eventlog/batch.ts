import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { type AnyEvent, AppError, invalid, LIMITS, type StoredEvent } from '#libs/contracts';
import {
  type Answer,
  type AppendContext,
  type Appended,
  actualVersion,
  appended,
  appendHeaders,
  type Expect,
  findInAggregate,
  isVersionConflict,
  lookUp,
  publishUntil,
  refused,
  sameOrConflict,
  unavailable,
  versionConflict,
} from './append.ts';
import { encodeEvent } from './codec.ts';
import { type Ack, CODES, type Refusal } from './ack.ts';
import type { PublishHeaders } from './publisher.ts';
import { readBySeq, readSince, streamInfo, subjectVersion } from './read.ts';
import { ledgerSubject } from './subjects.ts';

/** One event of a batch. `expect` may stand only on the first event of its aggregate. */
export type BatchEntry = { event: AnyEvent; expect?: Expect; tsGiven?: boolean };

export type BatchOptions = {
  /** Unique for each try: the broker holds half-sent batches by this id. */
  newBatchId: () => string;
  /** How long to keep trying while the outcome is unknown. Default 10 000 ms. */
  timeoutMs?: number;
  /** What is known to be stored already; such entries are compared and left out. */
  known?: (eventId: string) => StoredEvent | undefined;
};

const TRY_MS = 5_000;
const BATCH_TIMEOUT_MS = 10_000;
/** Bytes of all events of one batch; the broker holds them in memory until the commit. */
const BATCH_BYTES_MAX = 2 * LIMITS.batchBodyBytes;
/** A batch whose ids the broker knows but a replica does not yet is looked up so often. */
const ROUNDS = 6;
const ROUND_MS = 50;
/** How far the clocks of the broker's servers may differ. */
const CLOCKS_MS = 60_000;

/** One message of a batch as it goes to the broker. */
export type BatchMessage = { subject: string; data: Uint8Array; hdrs: PublishHeaders };

type Item = Required<BatchEntry> &
  BatchMessage & {
    /** Its place in the caller's batch, for errors. */
    index: number;
  };

/**
 * Appends events atomically: all or none, in the order given, one after the other in the stream.
 * Entries whose id is stored with the same content already count as appended, the rest is then the
 * batch. The field of an error names the entry: `events[3].event_id`.
 *
 * @throws {EVENT_ID_CONFLICT} an id is stored with other content
 * @throws {VERSION_CONFLICT} an aggregate is not at its `expect`; `details.index` is the entry
 * @throws {PAYLOAD_TOO_LARGE} more than LIMITS.batchEvents, one event or all together too large
 * @throws {INVALID_REQUEST} an id stands twice
 * @throws {DEPENDENCY_UNAVAILABLE} as for `append`
 */
export async function appendBatch(
  context: AppendContext,
  entries: readonly BatchEntry[],
  options: BatchOptions,
): Promise<Appended[]> {
  const items = toItems(entries);
  const done = new Map<string, Appended>();
  const settle = (item: Item, stored: StoredEvent): void => {
    const at = `events[${item.index}].`;
    done.set(item.event.event_id, sameOrConflict(stored, item.event, item.tsGiven, at));
  };
  for (const item of items) {
    const stored = options.known?.(item.event.event_id);
    if (stored !== undefined) settle(item, stored);
  }
  for (let round = 1; done.size < items.length; round += 1) {
    const open = items.filter(({ event }) => !done.has(event.event_id));
    const { ack, unsure } = await publishBatch(context, open, options);
    if (ack.kind === 'stored') {
      // The ack names the last sequence; a batch lies in the stream without gaps.
      const first = ack.seq - open.length + 1;
      for (const [i, { event }] of open.entries()) {
        done.set(event.event_id, appended(event, first + i));
      }
    } else if (ack.errCode === CODES.batchDuplicate) {
      const found = await lookUp(() => findDuplicates(context.broker, open));
      for (const [item, stored] of found) settle(item, stored);
      refuseTornDecision(open, found);
      if (found.size > 0) continue;
      if (round === ROUNDS) throw unavailable('it refuses ids that cannot be found', 'unknown');
      await sleep(ROUND_MS * round);
    } else if (isVersionConflict(ack)) {
      const stored = await lookUp(() => findWhole(context.broker, open));
      if (stored === undefined) throw await conflictOf(context.broker, open, ack);
      for (const [i, item] of open.entries()) settle(item, stored[i] as StoredEvent);
    } else {
      throw refused(ack, unsure);
    }
  }
  return entries.map(({ event }) => done.get(event.event_id) as Appended);
}

function publishBatch(
  context: AppendContext,
  items: readonly Item[],
  options: BatchOptions,
): Promise<Answer> {
  return publishUntil(context.broker, options.timeoutMs ?? BATCH_TIMEOUT_MS, (leftMs) =>
    sendBatch(context, items, options.newBatchId(), Math.min(TRY_MS, leftMs)),
  );
}

/**
 * ADR-50: the first is a request (an empty answer is yes), the last one commits. The yes is not
 * waited for: behind a no the rest is refused as well, so a decision costs one round trip, not two.
 */
export async function sendBatch(
  { publisher }: Pick<AppendContext, 'publisher'>,
  items: readonly BatchMessage[],
  batchId: string,
  timeoutMs: number,
): Promise<Ack> {
  const last = items.length - 1;
  let opening: Promise<Ack> | undefined;
  for (const [i, { subject, data, hdrs }] of items.entries()) {
    const all = { ...hdrs, 'Nats-Batch-Id': batchId, 'Nats-Batch-Sequence': String(i + 1) };
    if (i === last) {
      const commit = { ...all, 'Nats-Batch-Commit': '1' };
      const ack = await publisher.publish(subject, data, commit, timeoutMs);
      if (ack.kind === 'stored') return ack;
      const opened = await opening;
      // It says why all was refused, where the commit knows only that its batch is incomplete.
      if (opened?.kind === 'refused') return opened;
      return ack.kind === 'held' ? { kind: 'unknown', reason: 'no answer to the commit' } : ack;
    }
    if (i === 0) {
      opening = publisher.publish(subject, data, all, timeoutMs);
    } else {
      const failed = publisher.send(subject, data, all);
      if (failed !== undefined) return failed;
    }
  }
  throw new Error('a batch without a last event');
}

/** The items that are stored, among what the broker remembers the ids of. */
async function findDuplicates(
  broker: Broker,
  items: readonly Item[],
): Promise<Map<Item, StoredEvent>> {
  const info = await streamInfo(broker);
  const { ts } = info as typeof info & { ts: string };
  const windowMs = Number(info.config.duplicate_window) / 1e6;
  const since = new Date(Date.parse(ts) - windowMs - CLOCKS_MS);
  const found = new Map<Item, StoredEvent>();
  for (const [subject, group] of Map.groupBy(items, (item) => item.subject)) {
    const missing = new Map(group.map((item) => [item.event.event_id, item]));
    for await (const page of readSince(broker, subject, since)) {
      for (const stored of page) {
        const item = missing.get(stored.event_id);
        if (item !== undefined) found.set(item, stored);
        missing.delete(stored.event_id);
      }
      if (missing.size === 0) break;
    }
  }
  return found;
}

/** A decision of which a conditional event is stored but another is not, is not the stored one. */
function refuseTornDecision(items: readonly Item[], found: ReadonlyMap<Item, StoredEvent>): void {
  if (found.size === items.length) return;
  for (const [item, stored] of found) {
    if (item.expect !== 'any') throw conflictAt(item, item.expect, stored.seq);
  }
}

/** A refused version may be this very batch, stored by a try whose answer was lost. */
async function findWhole(
  broker: Broker,
  items: readonly Item[],
): Promise<StoredEvent[] | undefined> {
  const at = items.findIndex(({ expect }) => expect !== 'any');
  const item = items[at];
  if (item === undefined || item.expect === 'any') return undefined;
  const version = await subjectVersion(broker, item.subject);
  const own = await findInAggregate(broker, item.event, item.expect, version);
  if (own === undefined) return undefined;
  const first = own.seq - at;
  const stored: StoredEvent[] = [];
  for (const [i, { event }] of items.entries()) {
    const found = await readBySeq(broker, first + i);
    if (found?.event_id !== event.event_id) return undefined;
    stored.push(found);
  }
  return stored;
}

/** Which of the expectations failed; the broker does not say. */
async function conflictOf(broker: Broker, items: readonly Item[], ack: Refusal): Promise<AppError> {
  const conditional = items.filter(({ expect }) => expect !== 'any');
  for (const item of conditional) {
    const actual = await lookUp(() => subjectVersion(broker, item.subject));
    if (actual !== item.expect) return conflictAt(item, item.expect, actual);
  }
  const item = conditional[0];
  return item === undefined
    ? refused(ack, false)
    : conflictAt(item, item.expect, actualVersion(ack));
}

function conflictAt(item: Item, expect: Expect, actual: number | undefined): AppError {
  const detail = { field: `events[${item.index}]`, details: { index: item.index } };
  return versionConflict(item.subject, Number(expect), actual, detail);
}

function toItems(entries: readonly BatchEntry[]): Item[] {
  if (entries.length === 0) throw new Error('a batch needs an event');
  if (entries.length > LIMITS.batchEvents) throw tooLarge('batch', `${LIMITS.batchEvents} events`);
  const ids = new Set<string>();
  const subjects = new Set<string>();
  let bytes = 0;
  return entries.map(({ event, expect = 'any', tsGiven = true }, index) => {
    const subject = ledgerSubject(event);
    if (ids.has(event.event_id)) {
      throw invalid(`events[${index}].event_id`, 'stands twice in this batch');
    }
    if (expect !== 'any' && subjects.has(subject)) {
      throw new Error(`events[${index}]: only the first event of an aggregate may expect`);
    }
    ids.add(event.event_id);
    subjects.add(subject);
    const data = encodeEvent(event, `events[${index}].`);
    bytes += data.length;
    if (bytes > BATCH_BYTES_MAX) throw tooLarge('batch', `${BATCH_BYTES_MAX} bytes`);
    const hdrs = appendHeaders(event.event_id, expect);
    return { event, expect, tsGiven, index, subject, data, hdrs };
  });
}

function tooLarge(what: string, limit: string): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', { what, limit }, { field: 'events' });
}
