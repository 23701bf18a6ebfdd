import { createHash } from 'node:crypto';
import type { Channel, DemandSnapshot, MilestoneEvent } from '#libs/contracts';

/** How a delivery came in, kept with what it brought. */
export type Receipt = {
  /** Receiver's clock, ISO. */
  received_at: string;
  mode: 'body' | 'bound';
  key_id: string;
  /** Receiver's clock minus header time; null where the delivery was redriven. */
  skew_ms: number | null;
  /** Bytes of the body. */
  size: number;
  /** Names this very attempt, so that its own lost ack can be told from another delivery. */
  attempt_id: string;
};

type Common = {
  /** Idempotency key, without outer blanks. */
  key: string;
  /** Hex SHA-256 of the canonical body: tells a duplicate from a conflict. */
  digest: string;
  receipt: Receipt;
};

/** An accepted delivery, as it lies in FEEDS for good. */
export type FeedEntry = Common &
  ({ channel: 'milestones'; item: MilestoneEvent } | { channel: 'demand'; item: DemandSnapshot });

/** A stored entry and its place in the stream. */
export type StoredEntry = FeedEntry & { seq: number; event_id: string };

/** Any text may be a key, so its digest stands for it in subjects. */
export function feedSubject(channel: Channel, key: string): string {
  return `feed.v1.${channel}.${keyDigest(key)}`;
}

/** Hex SHA-256 of a key. */
export function keyDigest(key: string): string {
  return createHash('sha256').update(key, 'utf8').digest('hex');
}

/** The id that its sender gave to what is delivered. */
export function idOf(entry: FeedEntry): string {
  return entry.channel === 'milestones' ? entry.item.milestoneId : entry.item.summaryId;
}

/** Reads a message of FEEDS. */
export function decodeEntry(
  data: Uint8Array,
  seq: number,
  subject: string,
): { ok: true; event: StoredEntry } | { ok: false; reason: string } {
  const [, , channel, digest] = subject.split('.');
  let entry: FeedEntry | null;
  try {
    entry = JSON.parse(new TextDecoder().decode(data)) as FeedEntry | null;
  } catch (error) {
    return { ok: false, reason: `is not JSON: ${(error as Error).message}` };
  }
  const whole = typeof entry?.item === 'object' && typeof entry.receipt === 'object';
  if (entry === null || !whole || entry.channel !== channel) {
    return { ok: false, reason: 'is no accepted delivery of its channel' };
  }
  return { ok: true, event: { ...entry, seq, event_id: `${channel}.${digest}` } };
}
