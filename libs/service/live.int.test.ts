import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '#libs/contracts';
import { describe, expect, test } from 'vitest';
import type { Ctx, LiveEvent } from './service.ts';
import { ask, fakeService, testServer } from './testkit.ts';

type Input = { from_seq?: number; last_event_id?: number };

/** Numbers from where the client stands, then waits for the abort. */
async function* numbers(input: Input, ctx: Ctx, upTo: number): AsyncGenerator<LiveEvent<unknown>> {
  const first = (input.last_event_id ?? input.from_seq ?? 0) + 1;
  for (let seq = first; seq <= upTo; seq += 1) yield { id: seq, event: 'fact', data: { seq } };
  await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve, { once: true }));
}

/** Reads until the text holds `needle`, then leaves. */
async function readUntil(url: string, needle: string, headers = {}): Promise<string> {
  const stop = new AbortController();
  const response = await fetch(url, { headers, signal: stop.signal });
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  let text = '';
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    if (text.includes(needle)) break;
  }
  stop.abort();
  return text;
}

describe('live streams', () => {
  test('send events with ids, keep alive, and resume from Last-Event-ID', async () => {
    const stream = (input: Input, ctx: Ctx) => numbers(input, ctx, 3);
    await using server = await testServer({
      services: [fakeService('ledger', { stream })],
      live: { keepAliveMs: 20 },
    });
    const url = `${server.url}/api/stream?from_seq=1`;
    const text = await readUntil(url, ': keep-alive');
    expect(text).toContain('id: 2\nevent: fact\ndata: {"seq":2}\n\nid: 3\n');
    const resumed = await readUntil(url, 'id: 3', { 'last-event-id': '2' });
    expect(resumed).not.toContain('id: 2');
  });

  test('tell the source when the client goes', async () => {
    let ended = 0;
    async function* stream(input: Input, ctx: Ctx) {
      try {
        yield* numbers(input, ctx, 1);
      } finally {
        ended += 1;
      }
    }
    await using server = await testServer({ services: [fakeService('ledger', { stream })] });
    await readUntil(`${server.url}/api/stream`, 'id: 1');
    await expect.poll(() => ended).toBe(1);
  });

  test('refuse bad input, and what the handler refuses, as any endpoint does', async () => {
    const stream = async () => {
      throw new AppError('RUN_NOT_FOUND', { id: 'r' });
    };
    await using server = await testServer({ services: [fakeService('ledger', { stream })] });
    const bad = await ask(`${server.url}/api/stream?from_seq=x`);
    expect(bad).toMatchObject({ status: 400, body: { error: { field: 'from_seq' } } });
    expect((await ask(`${server.url}/api/stream`)).status).toBe(404);
  });

  test('end with an error event where the source fails', async () => {
    async function* stream() {
      yield { id: 1, data: {} };
      throw new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'The broker', reason: 'gone' });
    }
    await using server = await testServer({ services: [fakeService('ledger', { stream })] });
    const response = await fetch(`${server.url}/api/stream`);
    const text = await response.text();
    expect(text).toContain('event: error\ndata: {"ok":false');
    expect(text).toContain('DEPENDENCY_UNAVAILABLE');
  });

  test('are bounded in number, and a place is free again when one ends', async () => {
    const stream = (input: Input, ctx: Ctx) => numbers(input, ctx, 1);
    await using server = await testServer({
      services: [fakeService('ledger', { stream })],
      live: { maxStreams: 2 },
    });
    const url = `${server.url}/api/stream`;
    const stop = new AbortController();
    await Promise.all([1, 2].map(() => fetch(url, { signal: stop.signal })));
    const third = await ask(url);
    expect(third.status).toBe(429);
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThan(0);
    stop.abort();
    await expect.poll(() => readUntil(url, 'id: 1').catch(() => '')).toContain('id: 1');
  });

  test('close a client that does not read, with little held for it', async () => {
    let sent = 0;
    let ended = false;
    async function* stream() {
      const data = { text: 'x'.repeat(64 * 1024) };
      try {
        for (; sent < 10_000; sent += 1) yield { id: sent, data };
      } finally {
        ended = true;
      }
    }
    await using server = await testServer({
      services: [fakeService('ledger', { stream })],
      live: { stallMs: 200 },
    });
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write('GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n');
    socket.pause();
    await expect.poll(() => ended, { timeout: 5_000 }).toBe(true);
    // The kernel's socket buffers take some megabytes; 10 000 events would be 640.
    expect(sent).toBeLessThan(500);
    socket.destroy();
  });

  test('end at once when the server closes', async () => {
    const stream = (input: Input, ctx: Ctx) => numbers(input, ctx, 1);
    const server = await testServer({ services: [fakeService('ledger', { stream })] });
    const response = await fetch(`${server.url}/api/stream`);
    const reading = response.text().catch(() => 'cut');
    await sleep(20);
    const startedMs = performance.now();
    await server.close();
    expect(performance.now() - startedMs).toBeLessThan(400);
    expect(await reading).toBe('cut');
  });
});
