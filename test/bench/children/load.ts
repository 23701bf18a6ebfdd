// Sends POST /events over kept-alive connections, each with one request under way at a time. It
// speaks HTTP over plain sockets: node's own client costs more a request than the servers do.
import { connect, type Socket } from 'node:net';
import { eventPool } from '../events.ts';
import { answerParent } from '../child.ts';
import type { Load, LoadResult } from '../ledger/http.ts';

const CREATED = Buffer.from('HTTP/1.1 201 ');
const HEAD_END = Buffer.from('\r\n\r\n');

/** Requests of one history; each call gives one that was not sent before. */
function requests(tag: string, host: string): () => string {
  const pool = eventPool(tag);
  let count = 0;
  return () => {
    const event = pool[count % pool.length] as { event_id: string };
    count += 1;
    const body = JSON.stringify({ ...event, event_id: `${event.event_id}_${count}` });
    const head = `POST /events HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\n`;
    return `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  };
}

/** Length of the first whole answer in `bytes`; 0: it is not all there. */
function answerLength(bytes: Buffer): number {
  const end = bytes.indexOf(HEAD_END);
  if (end < 0) return 0;
  const head = bytes.toString('latin1', 0, end).toLowerCase();
  const length = /\r\ncontent-length: (\d+)/.exec(head)?.[1];
  if (length === undefined) throw new Error(`an answer without a length: ${head}`);
  const total = end + HEAD_END.length + Number(length);
  return bytes.length >= total ? total : 0;
}

function run({ url, connections, durationMs, tag }: Load): Promise<LoadResult> {
  const { hostname, port, host } = new URL(url);
  const next = requests(tag, host);
  const startedAt = performance.now();
  const end = startedAt + durationMs;
  const latencies: number[] = [];
  const lane = async (): Promise<void> => {
    const socket = connect(Number(port), hostname);
    socket.setNoDelay(true);
    const done = Promise.withResolvers<void>();
    talk(socket, next, latencies, end, done);
    await done.promise;
  };
  return Promise.all(Array.from({ length: connections }, lane)).then(() => ({
    answered: latencies.length,
    durationMs: performance.now() - startedAt,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  }));
}

function talk(
  socket: Socket,
  next: () => string,
  latencies: number[],
  end: number,
  done: PromiseWithResolvers<void>,
): void {
  let held: Buffer = Buffer.alloc(0);
  let sentAt = 0;
  const send = (): void => {
    sentAt = performance.now();
    socket.write(next());
  };
  socket.once('connect', send);
  socket.once('error', done.reject);
  socket.once('close', () => done.reject(new Error('the server closed a connection')));
  socket.on('data', (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const length = answerLength(held);
    if (length === 0) return;
    if (!held.subarray(0, CREATED.length).equals(CREATED)) {
      done.reject(new Error(`refused: ${held.toString('utf8')}`));
      return;
    }
    held = held.subarray(length);
    const now = performance.now();
    latencies.push(now - sentAt);
    if (now < end) return send();
    done.resolve();
    socket.destroy();
  });
}

function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

answerParent({ run });
