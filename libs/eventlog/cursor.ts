import { type Broker, toNanos } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import { createInbox, type Msg } from 'nats';
import { connectionId, inboxPrefix } from './publisher.ts';

/** Bytes in the stream that are no event of ours; whoever follows sets them aside and goes on. */
export type PoisonMessage = { seq: number; subject: string; reason: string; bytes: number };

/** Reads one stored message. */
export type Decode<E> = (
  data: Uint8Array,
  seq: number,
  subject: string,
) => { ok: true; event: E } | { ok: false; reason: string };

export type EventBatch<E = StoredEvent> = {
  events: E[];
  /** The stored bytes of each event, aligned with `events`. */
  raw: Uint8Array[];
  poison: PoisonMessage[];
  /** Every message up to this sequence has been handed out (with this batch or before). */
  lastSeq: number;
  /** Messages that wait in the stream behind this batch. */
  pending: number;
};

/** Bytes asked for at once, so that large events do not pile up. */
const MAX_BYTES = 16 * 1024 * 1024;
const PULL_EXPIRES_MS = 30_000;
const HEARTBEAT_MS = 5_000;
const WATCH_MS = 250;

/** A place in the stream, from which batches are taken in order. */
export type Cursor<E> = {
  /** What has come since the last take, as soon as there is anything; undefined: place lost. */
  take(): Promise<EventBatch<E> | undefined>;
  close(): void;
};

export type CursorOptions<E> = {
  stream: string;
  decode: Decode<E>;
  fromSeq: number;
  maxEvents: number;
  signal: AbortSignal;
};

/** Pulls from an ack-less consumer that starts at `fromSeq`. */
export function startCursor<E>(broker: Broker, name: string, options: CursorOptions<E>): Cursor<E> {
  const { nc, jsm } = broker;
  const { signal, stream } = options;
  const inbox = createInbox(inboxPrefix(nc));
  const connection = connectionId(nc);
  const pullSubject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`;
  const window = createWindow(options.maxEvents);
  let delivered = 0;
  let lastSeq = options.fromSeq - 1;
  let lost = false;
  let wake: (() => void) | undefined;
  let heardAt = performance.now();

  const lose = (): void => {
    lost = true;
    wake?.();
  };
  const pull = (): void => {
    if (!window.isOpen()) heardAt = performance.now();
    const batch = lost ? 0 : window.ask();
    if (batch > 0) nc.publish(pullSubject, pullRequest(batch), { reply: inbox });
  };
  const subscription = nc.subscribe(inbox, {
    callback: (error, msg) => {
      heardAt = performance.now();
      if (lost || error !== null) return lose();
      const position = msg.reply === undefined ? undefined : parsePosition(msg.reply);
      if (position === undefined) {
        const status = parseStatus(msg);
        // A heartbeat tells how much was sent; what is missing then has got lost.
        if (status.kind === 'heartbeat' && status.sent === delivered) return;
        if (status.kind !== 'pull ended') return lose();
        window.ended(status.undelivered);
        return pull();
      }
      delivered += 1;
      if (position.consumerSeq !== delivered) return lose();
      window.arrived({ msg, position });
      wake?.();
    },
  });
  const watchdog = setInterval(() => {
    // What was on its way to a connection that broke is gone; without acks nothing is sent twice.
    const moved = !broker.isConnected() || connectionId(nc) !== connection;
    // Heartbeats come only while a pull is open.
    const silent = window.isOpen() && performance.now() - heardAt > 3 * HEARTBEAT_MS;
    if (moved || silent) lose();
  }, WATCH_MS);
  signal.addEventListener('abort', lose, { once: true });
  if (signal.aborted) lose();
  pull();

  return {
    take: async () => {
      while (window.isEmpty()) {
        if (lost) return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const batch = decodeBatch(window.take(), lastSeq, options.decode);
      lastSeq = batch.lastSeq;
      pull();
      return batch;
    },
    close: () => {
      lost = true;
      clearInterval(watchdog);
      signal.removeEventListener('abort', lose);
      subscription.unsubscribe();
      if (nc.isClosed() || !broker.isConnected()) return;
      // The server forgets idle consumers by itself; deleting is only tidier.
      jsm.consumers.delete(stream, name).catch(() => false);
    },
  };
}

function pullRequest(batch: number): string {
  return JSON.stringify({
    batch,
    max_bytes: MAX_BYTES,
    expires: toNanos(PULL_EXPIRES_MS),
    idle_heartbeat: toNanos(HEARTBEAT_MS),
  });
}

type Window = {
  /** How many to ask for now; they count as asked. 0: enough is asked for or held. */
  ask(): number;
  arrived(held: Held): void;
  /** A pull has ended and so many of its messages will not come. */
  ended(undelivered: number): void;
  /** True while a pull may still bring messages. */
  isOpen(): boolean;
  isEmpty(): boolean;
  take(): Held[];
};

/** Bounds what is asked for and held: at most `maxEvents`, and no new pull above MAX_BYTES. */
function createWindow(maxEvents: number): Window {
  let held: Held[] = [];
  let heldBytes = 0;
  let asked = 0;
  return {
    ask: () => {
      const free = maxEvents - asked - held.length;
      if (heldBytes >= MAX_BYTES || free < maxEvents / 2) return 0;
      asked += free;
      return free;
    },
    arrived: (message) => {
      asked -= 1;
      held.push(message);
      heldBytes += message.msg.data.length;
    },
    ended: (undelivered) => {
      asked -= undelivered;
    },
    isOpen: () => asked > 0,
    isEmpty: () => held.length === 0,
    take: () => {
      const taken = held;
      held = [];
      heldBytes = 0;
      return taken;
    },
  };
}

type Status =
  | { kind: 'heartbeat'; sent: number }
  /** Nothing more comes of a pull, `undelivered` of its messages were not sent. */
  | { kind: 'pull ended'; undelivered: number }
  | { kind: 'failure' };

/** Reads a message that is none of the stream's: 100 heartbeat, 408 expired, 409 at its limit. */
function parseStatus({ headers }: Msg): Status {
  if (headers?.code === 100) {
    return { kind: 'heartbeat', sent: Number(headers.get('Nats-Last-Consumer')) };
  }
  const full = headers?.code === 409 && /maxbytes|batch completed/i.test(headers.description);
  if (headers?.code !== 408 && !full) return { kind: 'failure' };
  return { kind: 'pull ended', undelivered: Number(headers.get('Nats-Pending-Messages')) };
}

function decodeBatch<E>(held: readonly Held[], after: number, decode: Decode<E>): EventBatch<E> {
  const batch: EventBatch<E> = { events: [], raw: [], poison: [], lastSeq: after, pending: 0 };
  for (const { msg, position } of held) {
    const { seq } = position;
    const decoded = decode(msg.data, seq, msg.subject);
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
/** A message that was not taken yet. */
type Held = { msg: Msg; position: Position };

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<consumer seq>.<time>.<pending>`; newer
 * servers may put domain and account before the stream and a token at the end (ADR-15).
 */
export function parsePosition(reply: string): Position | undefined {
  const parts = reply.split('.');
  if (parts[0] !== '$JS' || parts[1] !== 'ACK') return undefined;
  if (parts.length !== 9 && parts.length < 11) return undefined;
  const skip = parts.length === 9 ? 0 : 2;
  const [seq, consumerSeq, pending] = [5, 6, 8].map((at) => count(parts[at + skip]));
  if (seq === undefined || consumerSeq === undefined || pending === undefined) return undefined;
  return { seq, consumerSeq, pending };
}

function count(digits: string | undefined): number | undefined {
  return digits !== undefined && /^\d{1,15}$/.test(digits) ? Number(digits) : undefined;
}
