import { createHash } from 'node:crypto';
import {
  type Channel,
  demandSnapshot,
  idempotencyKey,
  isAppError,
  LIMITS,
  type MilestoneEvent,
  milestoneEvent,
  parse,
  type ReasonClass,
} from '#libs/contracts';
import {
  checkWindow,
  parseSigned,
  SIGNATURE_HEADER,
  type SignedBody,
  type SigningSecret,
  TIMESTAMP_HEADER,
  type Verdict,
  verifySignature,
} from '#libs/signing';
import type { FeedEntry } from './entry.ts';

/** A delivery as it came, by whichever way. */
export type Delivery = {
  channel: Channel;
  body: Uint8Array;
  /** The two headers; undefined or empty where they are missing. */
  signature: string | undefined;
  timestamp: string | undefined;
  /** When it reached us (a queued one: when the broker took it). */
  arrivedMs: number;
  attemptId: string;
};

export type ReceiveRules = {
  secrets: readonly SigningSecret[];
  /** Only signatures over time, channel and body count. */
  requireBound: boolean;
  windowMs: number;
  /** True: an operator sends again what was set aside; its time is no longer looked at. */
  redriven?: boolean;
};

export type Rejection = {
  ok: false;
  status: 400 | 401 | 409 | 413;
  reasonClass: ReasonClass;
  reason: string;
  /** The key as sent, where it is known. */
  key?: string;
};
export type Received = { ok: true; entry: FeedEntry } | Rejection;

/**
 * Checks a delivery, in this order: size, headers, time, JSON, signature, key, content. Nothing is
 * repaired: what is not as the contract says is rejected with the reason.
 */
export function receive(delivery: Delivery, rules: ReceiveRules): Received {
  const { body, signature = '', timestamp = '' } = delivery;
  if (body.length > LIMITS.signedBodyBytes) {
    const reason = `the body is over its limit of ${LIMITS.signedBodyBytes} bytes`;
    return { ok: false, status: 413, reasonClass: 'size', reason };
  }
  if (signature === '' || timestamp === '') {
    const reason = `missing ${SIGNATURE_HEADER} or ${TIMESTAMP_HEADER}`;
    return { ok: false, status: 401, reasonClass: 'headers', reason };
  }
  const window = checkWindow(timestamp, delivery.arrivedMs, rules.windowMs);
  if (!window.ok && rules.redriven !== true) {
    return { ok: false, status: 401, reasonClass: 'timestamp', reason: window.reason };
  }
  const read = readBody(body);
  if ('ok' in read) return read;
  const { canonical } = read;
  const signed = { channel: delivery.channel, timestamp, canonical };
  const verdict = verifySignature(rules.secrets, signed, signature, rules.requireBound);
  const key = keyIn(read.value);
  if (verdict === undefined) {
    const what = rules.requireBound ? ' (it must cover timestamp, channel and body)' : '';
    return rejected(401, 'signature', `invalid signature${what}`, key);
  }
  const skewMs = window.ok && rules.redriven !== true ? window.skewMs : null;
  return accept(delivery, read, verdict, skewMs);
}

function readBody(body: Uint8Array): SignedBody | Rejection {
  try {
    return parseSigned(body);
  } catch (error) {
    if (!isAppError(error)) throw error;
    return rejected(400, 'json', `invalid JSON body: ${error.message}`, undefined);
  }
}

function accept(
  delivery: Delivery,
  { value, canonical }: SignedBody,
  verdict: Verdict,
  skewMs: number | null,
): Received {
  const envelope = (value ?? {}) as Record<string, unknown>;
  const given = idempotencyKey.safeParse(envelope.idempotencyKey);
  if (!given.success) {
    const reason = `missing idempotencyKey: ${given.error.issues[0]?.message ?? 'not a text'}`;
    return rejected(400, 'key', reason, keyIn(value));
  }
  const receipt = {
    received_at: new Date(delivery.arrivedMs).toISOString(),
    mode: verdict.mode,
    key_id: verdict.keyId,
    skew_ms: skewMs,
    size: delivery.body.length,
    attempt_id: delivery.attemptId,
  };
  const digest = createHash('sha256').update(canonical).digest('hex');
  const common = { key: given.data.trim(), digest, receipt };
  try {
    if (delivery.channel === 'milestones') {
      const item = normalizeMilestone(parse(milestoneEvent, envelope.event, 'event'));
      checkAhead(item.timestampUtc, delivery.arrivedMs, 'event.timestampUtc');
      return { ok: true, entry: { channel: 'milestones', ...common, item } };
    }
    const parsed = parse(demandSnapshot, envelope.snapshot, 'snapshot');
    const generatedAtUtc = new Date(parsed.generatedAtUtc).toISOString();
    const item = { ...parsed, summaryId: parsed.summaryId.trim(), generatedAtUtc };
    checkAhead(generatedAtUtc, delivery.arrivedMs, 'snapshot.generatedAtUtc');
    return { ok: true, entry: { channel: 'demand', ...common, item } };
  } catch (error) {
    if (!isAppError(error) && !(error instanceof Ahead)) throw error;
    const what = delivery.channel === 'milestones' ? 'milestone event' : 'demand summary snapshot';
    return rejected(400, 'event', `invalid ${what}: ${error.message}`, given.data);
  }
}

/** A time that far ahead would stand on top for good. */
const AHEAD_MS_MAX = 300_000;
class Ahead extends Error {}

function checkAhead(time: string, nowMs: number, field: string): void {
  if (Date.parse(time) - nowMs > AHEAD_MS_MAX) {
    throw new Ahead(`${field}: is over ${AHEAD_MS_MAX / 1000} s ahead of the receiver's clock`);
  }
}

/** Ids and texts without outer blanks, the time in milliseconds and `Z`, no empty `ref`. */
function normalizeMilestone(event: MilestoneEvent): MilestoneEvent {
  return {
    ...event,
    milestoneId: event.milestoneId.trim(),
    timestampUtc: new Date(event.timestampUtc).toISOString(),
    scope: event.scope.trim(),
    claim: event.claim.trim(),
    evidence: event.evidence.map(({ ref, ...item }) => {
      const trimmed = ref?.trim() ?? '';
      return trimmed === '' ? item : { ...item, ref: trimmed };
    }),
  };
}

function keyIn(value: unknown): string | undefined {
  const key = (value as { idempotencyKey?: unknown } | null)?.idempotencyKey;
  return typeof key === 'string' && key.trim() !== '' ? key : undefined;
}

function rejected(
  status: Rejection['status'],
  reasonClass: ReasonClass,
  reason: string,
  key: string | undefined,
): Rejection {
  return { ok: false, status, reasonClass, reason, ...(key !== undefined && { key }) };
}
