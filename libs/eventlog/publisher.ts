import type { Broker } from '#libs/broker';
import { createInbox, type MsgHdrs, type NatsConnection } from 'nats';
import { type Ack, CODES, parseAck, type Refusal, refusal } from './ack.ts';

/** Values must be free of line breaks. */
export type PublishHeaders = Readonly<Record<string, string>>;

export type Publisher = {
  /** Publishes and resolves with the broker's answer; never rejects. `timeoutMs` bounds the wait. */
  publish(subject: string, data: Uint8Array, hdrs: PublishHeaders, timeoutMs: number): Promise<Ack>;
  /** Publishes without asking for an answer (the middle of a batch); says if that was refused. */
  send(subject: string, data: Uint8Array, hdrs: PublishHeaders): Refusal | undefined;
  close(): void;
};

type Waiting = { resolve: (ack: Ack) => void; deadline: number };

/** Answers are checked for lateness this often; a timeout may come so much later than asked. */
const SWEEP_MS = 100;
/** Publishes without an answer at once; a broker so far behind is as good as away. */
const WAITING_MAX = 20_000;

const encoder = new TextEncoder();

/**
 * A pipelined publisher: one reply subscription and one sweeping timer for all publishes, where the
 * client library makes a timer and several objects for each (a third of its throughput).
 */
export function createPublisher(
  { nc, isConnected }: Pick<Broker, 'nc' | 'isConnected'>,
  stream?: string,
): Publisher {
  const inbox = createInbox(inboxPrefix(nc));
  const waiting = new Map<string, Waiting>();
  let next = 0;
  let connection = connectionId(nc);
  let sweeping: NodeJS.Timeout | undefined;
  let closed = false;

  const settle = (key: string, ack: Ack): void => {
    const entry = waiting.get(key);
    if (entry === undefined) return;
    waiting.delete(key);
    entry.resolve(ack);
  };
  const settleAll = (reason: string): void => {
    for (const key of waiting.keys()) settle(key, { kind: 'unknown', reason });
  };
  const sweep = (): void => {
    const now = performance.now();
    // An answer to a connection that broke will not come.
    if (!isConnected() || connectionId(nc) !== connection) settleAll('the connection was lost');
    connection = connectionId(nc);
    for (const [key, entry] of waiting) {
      if (entry.deadline <= now) settle(key, { kind: 'unknown', reason: 'no answer in time' });
    }
    if (waiting.size === 0) {
      clearInterval(sweeping);
      sweeping = undefined;
    }
  };
  const subscription = nc.subscribe(`${inbox}.*`, {
    callback: (error, msg) => {
      if (error === null) settle(msg.subject.slice(inbox.length + 1), parseAck(msg, stream));
    },
  });

  const transmit = (subject: string, data: Uint8Array, hdrs: PublishHeaders, reply = '') =>
    closed
      ? refusal(CODES.notSent, 'the event log is closed')
      : send(nc, subject, data, hdrs, reply);

  return {
    publish: (subject, data, hdrs, timeoutMs) => {
      if (waiting.size >= WAITING_MAX) {
        return Promise.resolve(refusal(CODES.notSent, 'too many appends wait for the broker'));
      }
      next += 1;
      const key = next.toString(36);
      const failed = transmit(subject, data, hdrs, `${inbox}.${key}`);
      if (failed !== undefined) return Promise.resolve(failed);
      if (sweeping === undefined) {
        connection = connectionId(nc);
        sweeping = setInterval(sweep, SWEEP_MS);
      }
      return new Promise((resolve) => {
        waiting.set(key, { resolve, deadline: performance.now() + timeoutMs });
      });
    },
    send: transmit,
    close: () => {
      closed = true;
      subscription.unsubscribe();
      settleAll('the event log was closed');
      clearInterval(sweeping);
    },
  };
}

/** Hands a message to the connection; says if it was certainly not sent. */
function send(
  nc: NatsConnection,
  subject: string,
  data: Uint8Array,
  hdrs: PublishHeaders,
  reply: string,
): Refusal | undefined {
  const headers = encodeHeaders(hdrs);
  const bytes = headers.length + data.length;
  if (bytes > (nc.info?.max_payload ?? Number.POSITIVE_INFINITY)) {
    return refusal(CODES.tooBig, `${bytes} bytes are more than the broker takes`);
  }
  try {
    nc.publish(subject, data, { headers: rawHeaders(headers), reply });
    return undefined;
  } catch (error) {
    return refusal(CODES.notSent, (error as Error).message);
  }
}

/** Tells one connection from the next over the same client. */
export function connectionId(nc: NatsConnection): string {
  return `${nc.info?.server_id}/${nc.info?.client_id}`;
}

/** The reply prefix that this connection has permission for; the library's type hides its options. */
export function inboxPrefix(nc: NatsConnection): string | undefined {
  return (nc as NatsConnection & { options?: { inboxPrefix?: string } }).options?.inboxPrefix;
}

function encodeHeaders(hdrs: PublishHeaders): Uint8Array {
  let text = 'NATS/1.0\r\n';
  for (const name in hdrs) text += `${name}: ${hdrs[name]}\r\n`;
  return encoder.encode(`${text}\r\n`);
}

/** Publishing only asks headers for their bytes; building the library's own costs a third of it. */
function rawHeaders(bytes: Uint8Array): MsgHdrs {
  return { encode: () => bytes } as unknown as MsgHdrs;
}
