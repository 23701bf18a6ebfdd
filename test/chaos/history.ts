import type { ConsumerMessages } from '@nats-io/jetstream';
import type { StoredEvent } from '#libs/contracts';
import type { Broker } from '#libs/broker';
import type { FeedItem, OutboxRecord } from './check/mod.ts';

/** One message of the stream, read past all our own code. */
export type Message = { seq: number; subject: string; text: string };

/** The whole of a stream as the broker has it, in order, by an ordered consumer. */
export async function readStream(broker: Broker, stream: string): Promise<Message[]> {
  const info = await broker.jsm.streams.info(stream);
  const last = info.state.last_seq;
  if (info.state.messages === 0) return [];
  const consumer = await broker.js.consumers.get(stream);
  const source: ConsumerMessages = await consumer.consume({ max_messages: 1_000 });
  const messages: Message[] = [];
  for await (const message of source) {
    messages.push({ seq: message.seq, subject: message.subject, text: message.string() });
    if (message.seq >= last || message.info.pending === 0) break;
  }
  await source.close();
  // It would stay for minutes, and a server holds a thousand at most.
  await consumer.delete();
  return messages;
}

/** How many messages a stream holds. */
export async function countOf(broker: Broker, stream: string): Promise<number> {
  return (await broker.jsm.streams.info(stream)).state.messages;
}

/** The events of ledger messages; what is no JSON object is left to the caller to find missing. */
export function eventsOf(messages: readonly Message[]): StoredEvent[] {
  return messages.flatMap(({ seq, text }) => {
    try {
      return [{ ...(JSON.parse(text) as StoredEvent), seq }];
    } catch {
      return [];
    }
  });
}

/** The items of FEEDS messages. */
export function feedOf(messages: readonly Message[]): FeedItem[] {
  return messages.map(({ seq, text }) => {
    const { key, channel, item } = JSON.parse(text) as Omit<FeedItem, 'seq'>;
    return { seq, key, channel, item };
  });
}

/** The deliveries of OUTBOX messages, of which each has one. */
export function outboxOf(messages: readonly Message[]): OutboxRecord[] {
  return messages.map(({ subject, text }) => {
    const record = JSON.parse(text) as Record<'channel' | 'item_id' | 'state', string> & {
      idempotency_key: string;
    };
    const { channel, idempotency_key: key, item_id: itemId, state } = record;
    return { id: subject, channel, key, itemId, state };
  });
}
