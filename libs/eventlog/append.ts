import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import {
  type AnyEvent,
  AppError,
  type ErrorDetail,
  isAppError,
  isId,
  LIMITS,
  type StoredEvent,
} from '#libs/contracts';
import { encodeEvent, sameFact } from './codec.ts';
import { type Ack, CODES, type Refusal } from './ack.ts';
import type { PublishHeaders, Publisher } from './publisher.ts';
import { readBySeq, readFrom, readNext } from './read.ts';
import { LEDGER_STREAM, ledgerSubject } from './subjects.ts';

/** What an append promises about the aggregate it writes to. */
export type Expect =
  /** Any well-formed fact, whatever the aggregate's version. */
  | 'any'
  /**
   * The stream sequence of the aggregate's last event; 0: it has none yet. An id that is stored at
   * or before this version is the caller's to know: it has read so far.
   */
  | number;

export type AppendOptions = {
  /** Default `any`. */
  expect?: Expect;
  /** False: `ts` was made by us and is not compared when the id turns out to be stored. Default true. */
  tsGiven?: boolean;
  /** How long to keep trying while the outcome is unknown. Default 5 000 ms. */
  timeoutMs?: number;
};

export type Appended = {
  event_id: string;
  ts: string;
  seq: number;
  /** The same fact was stored before; nothing new was written. */
  duplicate: boolean;
};

/** What a DEPENDENCY_UNAVAILABLE of an append says in `details.outcome`. */
type Outcome = 'not stored' | 'unknown';

/** One publish is given up and sent again after this; the id makes the second harmless. */
const TRY_MS = 2_000;
const RETRY_MS = 50;
const APPEND_TIMEOUT_MS = 5_000;

export type AppendContext = { broker: Broker; publisher: Publisher };

/**
 * Appends one event and resolves only after the broker's ack.
 *
 * The order in which the broker checks id and version differs by replica count (R1 version first,
 * R3 id first), and after a lost ack nobody knows whether the first try was stored. So a refused
 * version may be our own event: it is looked up before a conflict is reported.
 *
 * @throws {EVENT_ID_CONFLICT} the id is stored with other content
 * @throws {VERSION_CONFLICT} the aggregate is not at `expect`; `details.actual` is where it is
 * @throws {DEPENDENCY_UNAVAILABLE} not known to be stored, `details.outcome` says which; sending the
 *   same id again is safe
 * @throws {PAYLOAD_TOO_LARGE} over LIMITS.eventBytes
 */
export async function append(
  context: AppendContext,
  event: AnyEvent,
  options: AppendOptions = {},
): Promise<Appended> {
  const { expect = 'any', tsGiven = true, timeoutMs = APPEND_TIMEOUT_MS } = options;
  const { broker, publisher } = context;
  const data = encodeEvent(event);
  const subject = ledgerSubject(event);
  const hdrs = appendHeaders(event.event_id, expect);
  const { ack, unsure } = await publishUntil(broker, timeoutMs, (leftMs) =>
    publisher.publish(subject, data, hdrs, Math.min(TRY_MS, leftMs)),
  );
  if (ack.kind === 'stored' && !ack.duplicate) return appended(event, ack.seq);
  if (ack.kind === 'stored') {
    const stored = await lookUp(() => readBySeq(broker, ack.seq));
    // The broker knows the id but the message is gone or unreadable: nothing can be said of it.
    if (stored === undefined) throw unavailable(`${ack.seq} cannot be read`, 'unknown');
    return sameOrConflict(stored, event, tsGiven);
  }
  if (!isVersionConflict(ack) || expect === 'any') throw refused(ack, unsure);
  const actual = actualVersion(ack);
  const own = await lookUp(() => findInAggregate(broker, event, expect, actual));
  if (own !== undefined) return sameOrConflict(own, event, tsGiven);
  throw versionConflict(subject, expect, actual);
}

/** The headers of one conditional or plain append. */
export function appendHeaders(eventId: string, expect: Expect): PublishHeaders {
  // Checked at the edge; this is the last line before text becomes a header.
  if (!isId(eventId)) throw new Error(`not an id: ${JSON.stringify(eventId).slice(0, 200)}`);
  const base = { 'Nats-Msg-Id': eventId, 'Nats-Expected-Stream': LEDGER_STREAM };
  if (expect === 'any') return base;
  if (!Number.isSafeInteger(expect) || expect < 0) throw new Error(`not a version: ${expect}`);
  return { ...base, 'Nats-Expected-Last-Subject-Sequence': String(expect) };
}

/** A final answer, and whether an earlier try may have been stored all the same. */
export type Answer = { ack: Extract<Ack, { kind: 'stored' | 'refused' }>; unsure: boolean };

/** Publishes until the broker says yes or no, or the time is over. A broker that is away is told at once. */
export async function publishUntil(
  broker: Broker,
  timeoutMs: number,
  publish: (leftMs: number) => Promise<Ack>,
): Promise<Answer> {
  const deadline = performance.now() + timeoutMs;
  let tried = false;
  let unsure = false;
  let reason = 'not connected';
  for (;;) {
    if (broker.isConnected()) {
      tried = true;
      const ack = await publish(deadline - performance.now());
      if (ack.kind === 'stored') return { ack, unsure };
      if (ack.kind === 'refused' && !TRANSIENT.has(ack.errCode)) return { ack, unsure };
      if (ack.kind !== 'refused') unsure = true;
      reason = describe(ack);
    }
    if (!tried || performance.now() >= deadline) {
      throw unavailable(reason, unsure ? 'unknown' : 'not stored');
    }
    await sleep(RETRY_MS);
  }
}

/** Refusals that mean: nothing was stored, ask again shortly. */
const TRANSIENT: ReadonlySet<number> = new Set([
  CODES.noResponders,
  CODES.versionNotReady,
  CODES.wrongLastSequenceInFlight,
  CODES.duplicateInFlight,
  CODES.tooManyRequests,
  CODES.batchIncomplete,
  CODES.batchTooManyOpen,
]);

export function isVersionConflict(ack: Refusal): boolean {
  return ack.errCode === CODES.wrongLastSequence;
}

/** The number in "wrong last sequence: N", if there is one. */
export function actualVersion(ack: Refusal): number | undefined {
  const digits = /: (\d+)$/.exec(ack.description)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * The same fact, or a conflict.
 * @param at name of the event in the request, as `events[3].`, for the `field` of an error
 * @throws {EVENT_ID_CONFLICT} `stored` has the id of `event` but is another fact
 */
export function sameOrConflict(
  stored: StoredEvent,
  event: AnyEvent,
  tsGiven: boolean,
  at = '',
): Appended {
  if (sameFact(stored, event, tsGiven)) {
    return { event_id: stored.event_id, ts: stored.ts, seq: stored.seq, duplicate: true };
  }
  throw new AppError(
    'EVENT_ID_CONFLICT',
    { event_id: event.event_id, seq: stored.seq },
    { field: `${at}event_id`, details: { seq: stored.seq } },
  );
}

/**
 * Looks for this event's id among what was written to its aggregate after version `after`.
 * @param upTo a version that the leader knows the aggregate to have
 */
export async function findInAggregate(
  broker: Broker,
  event: AnyEvent,
  after: number,
  upTo = 0,
): Promise<StoredEvent | undefined> {
  const subject = ledgerSubject(event);
  let last = after;
  for await (const page of readFrom(broker, subject, after + 1)) {
    const found = page.find((stored) => stored.event_id === event.event_id);
    if (found !== undefined) return found;
    last = page.at(-1)?.seq ?? last;
  }
  // The replica that answered may be behind the leader.
  while (last < upTo) {
    const next = await readNext(broker, subject, last + 1);
    if (next === undefined) return undefined;
    if (next.event?.event_id === event.event_id) return next.event;
    last = next.seq;
  }
  return undefined;
}

export function appended(event: AnyEvent, seq: number): Appended {
  return { event_id: event.event_id, ts: event.ts, seq, duplicate: false };
}

export function versionConflict(
  subject: string,
  expected: number,
  actual: number | undefined,
  detail: ErrorDetail = {},
): AppError {
  return new AppError(
    'VERSION_CONFLICT',
    { subject, expected, actual: actual ?? 'unknown' },
    {
      ...detail,
      details: { ...detail.details, expected, ...(actual !== undefined && { actual }) },
    },
  );
}

/** A refusal as an error. `unsure`: an earlier try may have been stored. */
export function refused(ack: Refusal, unsure: boolean): AppError {
  if (ack.errCode === CODES.tooBig && !unsure) {
    return new AppError('PAYLOAD_TOO_LARGE', { what: 'event', limit: LIMITS.eventBytes });
  }
  // A store that fails may fail after a replica has written.
  const open = unsure || ack.errCode === CODES.storeFailed;
  return unavailable(describe(ack), open ? 'unknown' : 'not stored');
}

/** Runs a read that resolves an append: if it fails, the outcome stays unknown. */
export async function lookUp<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
    throw unavailable(error.message, 'unknown', error);
  }
}

function describe(ack: Ack): string {
  if (ack.kind === 'refused') return `${ack.errCode} ${ack.description}`;
  return ack.kind === 'unknown' ? ack.reason : ack.kind;
}

export function unavailable(reason: string, outcome: Outcome, cause?: unknown): AppError {
  return new AppError(
    'DEPENDENCY_UNAVAILABLE',
    { dependency: 'The broker', reason },
    { details: { outcome }, cause },
  );
}
