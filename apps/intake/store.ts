import { setTimeout as sleep } from 'node:timers/promises';
import { type Broker, brokerUnavailable, callBroker } from '#libs/broker';
import { AppError } from '#libs/contracts';
import type { Publisher } from '#libs/eventlog';
import { decodeEntry, type FeedEntry, feedSubject, type StoredEntry } from '#libs/feeds';
import { FEEDS } from '#streams';

/** What became of an entry; `before` is what its key stands for. */
export type Stored =
  | { outcome: 'accepted'; seq: number }
  | { outcome: 'duplicate' | 'conflict'; before: StoredEntry };

const TRY_MS = 1_500;
const STORE_MS = 4_000;
const RETRY_MS = 50;
/** JetStream's "maximum messages per subject exceeded"; the code alone says less. */
const STORE_FAILED = 10077;
const TOO_BIG = 10054;
const encoder = new TextEncoder();

/**
 * Stores an entry on its key's own subject, which takes one message for ever: whatever crashes, the
 * key and the item are one write. Resolves after the broker's ack.
 * @throws {DEPENDENCY_UNAVAILABLE} not known to be stored; sending again is safe
 * @throws {PAYLOAD_TOO_LARGE} the broker takes no message of this size
 */
export async function storeOnce(
  broker: Broker,
  publisher: Publisher,
  entry: FeedEntry,
): Promise<Stored> {
  const subject = feedSubject(entry.channel, entry.key);
  const data = encoder.encode(JSON.stringify(entry));
  const headers = { 'Nats-Expected-Stream': FEEDS.name };
  const deadline = performance.now() + STORE_MS;
  let reason = 'there is no connection';
  do {
    if (!broker.isConnected()) break;
    const ack = await publisher.publish(subject, data, headers, TRY_MS);
    if (ack.kind === 'stored') return { outcome: 'accepted', seq: ack.seq };
    if (ack.kind === 'refused' && ack.errCode === TOO_BIG) {
      throw new AppError('PAYLOAD_TOO_LARGE', { what: 'delivery', limit: ack.description });
    }
    if (ack.kind === 'refused' && ack.errCode === STORE_FAILED && isTaken(ack.description)) {
      return compare(await readStored(broker, subject), entry);
    }
    reason = ack.kind === 'refused' ? ack.description : 'no answer in time';
    await sleep(RETRY_MS);
  } while (performance.now() < deadline);
  throw brokerUnavailable(reason);
}

function isTaken(description: string): boolean {
  return /per subject/i.test(description);
}

async function readStored(broker: Broker, subject: string): Promise<StoredEntry> {
  const message = await callBroker(broker, () =>
    broker.jsm.streams.getMessage(FEEDS.name, { last_by_subj: subject }),
  );
  if (message === null) throw brokerUnavailable('a stored delivery cannot be read');
  const decoded = decodeEntry(message.data, message.seq, message.subject);
  if (decoded.ok) return decoded.event;
  throw new Error(`${subject} at ${message.seq}: ${decoded.reason}`);
}

function compare(before: StoredEntry, entry: FeedEntry): Stored {
  // An earlier try of this very attempt, whose ack was lost.
  if (before.receipt.attempt_id === entry.receipt.attempt_id) {
    return { outcome: 'accepted', seq: before.seq };
  }
  return { outcome: before.digest === entry.digest ? 'duplicate' : 'conflict', before };
}
