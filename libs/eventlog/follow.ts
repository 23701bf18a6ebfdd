import { setTimeout as sleep } from 'node:timers/promises';
import { AckPolicy, DeliverPolicy, ReplayPolicy } from '@nats-io/jetstream';
import { createInbox, type Msg, nanos } from 'nats';
import type { Broker } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import { decodeEvent } from './codec.ts';
import { guarded } from './read.ts';
import { LEDGER_STREAM } from './subjects.ts';

/** Bytes in the stream that are no event of ours; whoever follows sets them aside and goes on. */
export type PoisonMessage = { seq: number; subject: string; reason: string; bytes: number };

export type EventBatch = {
  events: StoredEvent[];
  /** The stored bytes of each event, aligned with `events`. */
  raw: Uint8Array[];
  poison: PoisonMessage[];
  /** Every message up to this sequence has been handed out (with this batch or before). */
  lastSeq: number;
  /** Messages that wait in the stream behind this batch. */
  pending: number;
};

export type FollowOptions = {
  /** First sequence to hand out. */
  fromSeq: number;
  /** Subject filters; default: the whole stream. */
  subjects?: string[];
  /** Messages held at once. Default 4 000. */
  maxEvents?: number;
  signal: AbortSignal;
};

const MAX_EVENTS = 4_000;
/** Bytes asked for at once, so that large events do not pile up. */
const MAX_BYTES = 32 * 1024 * 1024;
const PULL_EXPIRES_MS = 30_000;
const HEARTBEAT_MS = 5_000;
const RESTART_MS = 250;

/**
 * Follows the ledger from a sequence, in order and without gaps, for ever. Live events are handed
 * out as they land; while catching up, in large batches. What has not been taken is not asked for,
 * so a slow taker costs no memory. (The client library's own consumer asks again on arrival.)
 * Ends when `signal` aborts; a broker that is away is waited for.
 */
export async function* followBatches(
  broker: Broker,
  options: FollowOptions,
): AsyncGenerator<EventBatch> {
  let next = options.fromSeq;
  const { signal } = options;
  while (!signal.aborted) {
    const cursor = await openCursor(broker, next, options).catch((error: unknown) => {
      if (signal.aborted || broker.nc.isClosed()) return undefined;
      return error as Error;
    });
    if (cursor === undefined) return;
    if (cursor instanceof Error) {
      await sleep(RESTART_MS);
      continue;
    }
    try {
      for (;;) {
        const batch = await cursor.take();
        if (batch === undefined) break;
        next = batch.lastSeq + 1;
        yield batch;
      }
    } finally {
      cursor.close();
    }
    // Lost its place (reconnect, gap, consumer gone): a new cursor starts where this one ended.
    if (!signal.aborted) await sleep(RESTART_MS);
  }
}

type Cursor = { take(): Promise<EventBatch | undefined>; close(): void };

async function openCursor(
  broker: Broker,
  fromSeq: number,
  options: FollowOptions,
): Promise<Cursor> {
  const info = await guarded('follow', () =>
    broker.jsm.consumers.add(LEDGER_STREAM, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: Math.max(1, fromSeq),
      replay_policy: ReplayPolicy.Instant,
      inactive_threshold: nanos(60_000),
      mem_storage: true,
      num_replicas: 1,
      ...(options.subjects !== undefined && { filter_subjects: options.subjects }),
    }),
  );
  return startCursor(broker, info.name, fromSeq, options);
}

function startCursor(
  broker: Broker,
  consumer: string,
  fromSeq: number,
  options: FollowOptions,
): Cursor {
  const maxEvents = options.maxEvents ?? MAX_EVENTS;
  const { nc } = broker;
  const inbox = createInbox();
  let held: Msg[] = [];
  let asked = 0;
  let delivered = 0;
  let lastSeq = fromSeq - 1;
  let lost = false;
  let wake: (() => void) | undefined;
  let heardAt = performance.now();

  const notify = (): void => {
    wake?.();
    wake = undefined;
  };
  const lose = (): void => {
    lost = true;
    notify();
  };
  const pull = (): void => {
    const batch = maxEvents - asked - held.length;
    if (lost || batch < maxEvents / 2) return;
    asked += batch;
    const request = {
      batch,
      max_bytes: MAX_BYTES,
      expires: nanos(PULL_EXPIRES_MS),
      idle_heartbeat: nanos(HEARTBEAT_MS),
    };
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${LEDGER_STREAM}.${consumer}`, JSON.stringify(request), {
      reply: inbox,
    });
  };
  const subscription = nc.subscribe(inbox, {
    callback: (error, msg) => {
      heardAt = performance.now();
      if (error !== null) return lose();
      const position = msg.reply === undefined ? undefined : parsePosition(msg.reply);
      if (position === undefined) {
        // A status: heartbeats only prove life; the end of a pull frees what it had asked for.
        if (msg.headers?.code === 100) return;
        if (msg.headers?.code !== 408 && !isBytesLimit(msg)) return lose();
        asked -= Number(msg.headers.get('Nats-Pending-Messages') || 0);
        return pull();
      }
      delivered += 1;
      if (position.consumerSeq !== delivered) return lose();
      asked -= 1;
      held.push(msg);
      notify();
    },
  });
  // Replies to a connection that broke are gone, and nothing is delivered twice without acks.
  const watchdog = setInterval(() => {
    if (!broker.isConnected() || performance.now() - heardAt > 3 * HEARTBEAT_MS) lose();
  }, 1_000);
  options.signal.addEventListener('abort', lose, { once: true });
  pull();

  return {
    take: async () => {
      while (held.length === 0) {
        if (lost) return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const messages = held;
      held = [];
      pull();
      const batch = decodeBatch(messages, lastSeq);
      lastSeq = batch.lastSeq;
      return batch;
    },
    close: () => {
      lost = true;
      clearInterval(watchdog);
      options.signal.removeEventListener('abort', lose);
      subscription.unsubscribe();
      if (nc.isClosed() || !broker.isConnected()) return;
      // The server forgets idle consumers by itself; deleting is only tidier.
      broker.jsm.consumers.delete(LEDGER_STREAM, consumer).catch(() => false);
    },
  };
}

function isBytesLimit(msg: Msg): boolean {
  return msg.headers?.code === 409 && /maxbytes|message size/i.test(msg.headers.description);
}

function decodeBatch(messages: Msg[], after: number): EventBatch {
  const batch: EventBatch = { events: [], raw: [], poison: [], lastSeq: after, pending: 0 };
  for (const msg of messages) {
    const position = parsePosition(msg.reply as string) as Position;
    const { seq } = position;
    const decoded = decodeEvent(msg.data, seq, msg.subject);
    if (decoded.ok) {
      batch.events.push(decoded.event);
      batch.raw.push(msg.data);
    } else {
      batch.poison.push({
        seq,
        subject: msg.subject,
        reason: decoded.reason,
        bytes: msg.data.length,
      });
    }
    batch.lastSeq = seq;
    batch.pending = position.pending;
  }
  return batch;
}

type Position = { seq: number; consumerSeq: number; pending: number };

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<consumer seq>.<time>.<pending>`; newer
 * servers may put domain and account before the stream and a token at the end (ADR-15).
 */
export function parsePosition(reply: string): Position | undefined {
  const parts = reply.split('.');
  if (parts[0] !== '$JS' || parts[1] !== 'ACK') return undefined;
  const skip = parts.length >= 11 ? 2 : 0;
  const seq = Number(parts[5 + skip]);
  const consumerSeq = Number(parts[6 + skip]);
  const pending = Number(parts[8 + skip]);
  return Number.isSafeInteger(seq) && Number.isSafeInteger(pending)
    ? { seq, consumerSeq, pending }
    : undefined;
}
