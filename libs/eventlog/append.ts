import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { type AnyEvent, AppError, LIMITS, type StoredEvent } from '#libs/contracts';
import { encodeEvent, sameFact } from './codec.ts';
import {
  type Ack,
  CODES,
  NO_RESPONDERS,
  type PublishHeaders,
  type Publisher,
} from './publisher.ts';
import { readBySeq, readFrom } from './read.ts';
import { LEDGER_STREAM, ledgerSubject } from './subjects.ts';

/** What an append promises about the aggregate it writes to. */
export type Expect =
  /** Any well-formed fact, whatever the aggregate's version. */
  | 'any'
  /** The stream sequence of the aggregate's last event; 0: it has none yet. */
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
 * @throws {VERSION_CONFLICT} the aggregate is not at `expect`
 * @throws {DEPENDENCY_UNAVAILABLE} not stored for certain; sending the same id again is safe
 * @throws {PAYLOAD_TOO_LARGE} over LIMITS.eventBytes
 */
export async function append(
  context: AppendContext,
  event: AnyEvent,
  options: AppendOptions = {},
): Promise<Appended> {
  const { expect = 'any', tsGiven = true, timeoutMs = APPEND_TIMEOUT_MS } = options;
  const data = encodeEvent(event);
  const subject = ledgerSubject(event);
  const hdrs = appendHeaders(event, expect);
  const ack = await publishUntil(context, timeoutMs, () =>
    context.publisher.publish(subject, data, hdrs, Math.min(TRY_MS, timeoutMs)),
  );
  if (ack.kind === 'stored') {
    if (!ack.duplicate) return appended(event, ack.seq, false);
    return resolveDuplicate(context.broker, event, ack.seq, tsGiven);
  }
  if (isVersionConflict(ack) && expect !== 'any') {
    const own = await findInAggregate(context.broker, event, expect);
    if (own !== undefined) return sameOrConflict(own, event, tsGiven);
    throw versionConflict(subject, expect, ack);
  }
  throw refused(ack);
}

/** The headers of one conditional or plain append. */
export function appendHeaders(event: AnyEvent, expect: Expect): PublishHeaders {
  const base = { 'Nats-Msg-Id': event.event_id, 'Nats-Expected-Stream': LEDGER_STREAM };
  if (expect === 'any') return base;
  return { ...base, 'Nats-Expected-Last-Subject-Sequence': String(expect) };
}

/** Publishes until the broker says yes or no, or the time is over. A broker that is away is told at once. */
export async function publishUntil(
  context: AppendContext,
  timeoutMs: number,
  publish: () => Promise<Ack>,
): Promise<Exclude<Ack, { kind: 'unknown' }>> {
  const deadline = performance.now() + timeoutMs;
  let sent = false;
  for (;;) {
    if (context.broker.isConnected()) {
      sent = true;
      const ack = await publish();
      if (ack.kind === 'stored' || !isTransient(ack))
        return ack as Exclude<Ack, { kind: 'unknown' }>;
      if (performance.now() >= deadline) throw unavailable(describe(ack), sent);
    } else if (!sent || performance.now() >= deadline) {
      throw unavailable('not connected', sent);
    }
    await sleep(RETRY_MS);
  }
}

function isTransient(ack: Ack): boolean {
  if (ack.kind === 'unknown') return true;
  if (ack.kind === 'stored') return false;
  const { errCode } = ack;
  return (
    errCode === NO_RESPONDERS ||
    errCode === CODES.retryShortly ||
    errCode === CODES.wrongLastSequenceInFlight
  );
}

export function isVersionConflict(ack: Ack): boolean {
  return ack.kind === 'refused' && ack.errCode === CODES.wrongLastSequence;
}

/** @throws {EVENT_ID_CONFLICT} what is stored at `seq` is another fact */
export async function resolveDuplicate(
  broker: Broker,
  event: AnyEvent,
  seq: number,
  tsGiven: boolean,
): Promise<Appended> {
  const stored = await readBySeq(broker, seq);
  // The broker knows the id but the message is gone or unreadable: nothing can be said of it.
  if (stored === undefined) throw unavailable(`the stored event at ${seq} cannot be read`, true);
  return sameOrConflict(stored, event, tsGiven);
}

/** @throws {EVENT_ID_CONFLICT} `stored` has the id of `event` but is another fact */
export function sameOrConflict(stored: StoredEvent, event: AnyEvent, tsGiven: boolean): Appended {
  if (sameFact(stored, event, tsGiven)) {
    return { event_id: stored.event_id, ts: stored.ts, seq: stored.seq, duplicate: true };
  }
  throw new AppError(
    'EVENT_ID_CONFLICT',
    { event_id: event.event_id, seq: stored.seq },
    { field: 'event_id', details: { seq: stored.seq } },
  );
}

/** Looks for this event's id among what was written to its aggregate after version `after`. */
export async function findInAggregate(
  broker: Broker,
  event: AnyEvent,
  after: number,
): Promise<StoredEvent | undefined> {
  for await (const page of readFrom(broker, ledgerSubject(event), after + 1)) {
    const found = page.find((stored) => stored.event_id === event.event_id);
    if (found !== undefined) return found;
  }
  return undefined;
}

export function appended(event: AnyEvent, seq: number, duplicate: boolean): Appended {
  return { event_id: event.event_id, ts: event.ts, seq, duplicate };
}

export function versionConflict(subject: string, expected: number, ack: Ack): AppError {
  const actual = /(\d+)\s*$/.exec(describe(ack))?.[1] ?? 'unknown';
  return new AppError(
    'VERSION_CONFLICT',
    { subject, expected, actual },
    { details: { expected, ...(actual !== 'unknown' && { actual: Number(actual) }) } },
  );
}

export function refused(ack: Ack): AppError {
  if (ack.kind === 'refused' && ack.errCode === CODES.tooBig) {
    return new AppError('PAYLOAD_TOO_LARGE', { what: 'event', limit: LIMITS.eventBytes });
  }
  return unavailable(describe(ack), false);
}

function describe(ack: Ack): string {
  if (ack.kind === 'unknown') return ack.reason;
  return ack.kind === 'refused' ? `${ack.errCode} ${ack.description}` : 'stored';
}

function unavailable(reason: string, sent: boolean): AppError {
  return new AppError(
    'DEPENDENCY_UNAVAILABLE',
    { dependency: 'The broker', reason },
    { details: { outcome: sent ? 'unknown' : 'not stored' } },
  );
}
