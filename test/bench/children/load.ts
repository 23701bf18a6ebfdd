// Sends requests of one kind over kept-alive connections, each with one request under way at a time. It
// speaks HTTP over plain sockets: node's own client costs more a request than the servers do.
import { createHmac } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { eventPool } from '../events.ts';
import { answerParent } from '../child.ts';
import { BENCH_SECRET, signedBody } from '../ingest/body.ts';
import type { Load, LoadResult } from '../ledger/http.ts';

const EXPECTED = {
  events: Buffer.from('HTTP/1.1 201 '),
  ingest: Buffer.from('HTTP/1.1 200 '),
  latest: Buffer.from('HTTP/1.1 200 '),
};
const DUPLICATE = '"status":"duplicate"';
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

/** The requests of one kind; `undefined`: there are no more. */
function source({ kind = 'events', tag, limit, at }: Load, host: string): () => string | undefined {
  const read = `GET /api/milestones/latest HTTP/1.1\r\nhost: ${host}\r\n\r\n`;
  const make =
    kind === 'latest'
      ? () => read
      : kind === 'ingest'
        ? deliveries(tag, host, at)
        : requests(tag, host);
  let count = 0;
  return () => {
    count += 1;
    return limit !== undefined && count > limit ? undefined : make();
  };
}

/** Signed milestones; the body is written in canonical form, so that signing costs one HMAC. */
function deliveries(tag: string, host: string, at?: string): () => string {
  const timestamp = at ?? new Date().toISOString();
  let count = 0;
  return () => {
    count += 1;
    const body = signedBody(tag, count, timestamp);
    const signature = createHmac('sha256', BENCH_SECRET).update(body).digest('hex');
    const head =
      `POST /internal/milestones/ingest HTTP/1.1\r\nhost: ${host}\r\n` +
      `content-type: application/json\r\nx-openclaw-signature: ${signature}\r\n` +
      `x-openclaw-timestamp: ${timestamp}\r\n`;
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

function run(load: Load): Promise<LoadResult> {
  const { url, connections, durationMs, kind = 'events' } = load;
  const { hostname, port, host } = new URL(url);
  const next = source(load, host);
  const startedAt = performance.now();
  const end = startedAt + durationMs;
  const seen: Seen = { latencies: [], duplicates: 0, expected: EXPECTED[kind] };
  const lane = async (): Promise<void> => {
    const socket = connect(Number(port), hostname);
    socket.setNoDelay(true);
    const done = Promise.withResolvers<void>();
    talk(socket, next, seen, end, done);
    await done.promise;
  };
  return Promise.all(Array.from({ length: connections }, lane)).then(() => ({
    answered: seen.latencies.length,
    duplicates: seen.duplicates,
    durationMs: performance.now() - startedAt,
    p50Ms: quantile(seen.latencies, 0.5),
    p99Ms: quantile(seen.latencies, 0.99),
  }));
}

type Seen = { latencies: number[]; duplicates: number; expected: Buffer };

function talk(
  socket: Socket,
  next: () => string | undefined,
  seen: Seen,
  end: number,
  done: PromiseWithResolvers<void>,
): void {
  let held: Buffer = Buffer.alloc(0);
  let sentAt = 0;
  const finish = (): void => {
    done.resolve();
    socket.destroy();
  };
  const send = (): void => {
    const request = next();
    if (request === undefined) return finish();
    sentAt = performance.now();
    socket.write(request);
  };
  socket.once('connect', send);
  socket.once('error', done.reject);
  socket.once('close', () => done.reject(new Error('the server closed a connection')));
  socket.on('data', (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const length = answerLength(held);
    if (length === 0) return;
    if (!held.subarray(0, seen.expected.length).equals(seen.expected)) {
      done.reject(new Error(`refused: ${held.toString('utf8')}`));
      return;
    }
    if (held.includes(DUPLICATE)) seen.duplicates += 1;
    held = held.subarray(length);
    const now = performance.now();
    seen.latencies.push(now - sentAt);
    if (now < end) return send();
    finish();
  });
}

function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

/** The same deliveries two times over, byte for byte. */
async function twice(load: Load): Promise<LoadResult[]> {
  const at = new Date().toISOString();
  return [await run({ ...load, at }), await run({ ...load, at })];
}

answerParent({ run, twice });
