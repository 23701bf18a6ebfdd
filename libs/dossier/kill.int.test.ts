import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BodyUpload } from '#libs/contracts';
import { waitFor } from '#libs/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openQueue } from './queue.ts';
import { body } from './testdata/bodies.ts';

const PATIENCE_MS = 120_000;
const ENQUEUING = fileURLToPath(new URL('./testdata/enqueuing.ts', import.meta.url));
const DRAINING = fileURLToPath(new URL('./testdata/draining.ts', import.meta.url));
const nowMs = (): number => Date.now();

let folder: string;
let file: string;
const undo: (() => unknown)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ironclaw-dossier-kill-'));
  file = join(folder, 'queue.db');
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
  await rm(folder, { recursive: true, force: true });
});

type Run = { child: ChildProcess; lines: string[]; ended: Promise<unknown> };

function start(program: string, ...args: string[]): Run {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  undo.push(() => child.kill('SIGKILL'));
  const run: Run = { child, lines: [], ended: once(child, 'close') };
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    run.lines.push(...lines);
  });
  return run;
}

async function kill({ child, ended }: Run): Promise<void> {
  child.kill('SIGKILL');
  await ended;
}

async function bodyOf(request: IncomingMessage): Promise<BodyUpload> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as BodyUpload;
}

/** A receiver that knows what it has; `beforeAnswer` may hold an answer back. */
async function receiver(beforeAnswer: (n: number) => Promise<unknown> | undefined) {
  const stored = new Set<string>();
  const answers: number[] = [];
  let requests = 0;
  const server = createServer((request, response) => {
    void (async () => {
      const upload = await bodyOf(request);
      expect(request.headers.authorization).toBe('Bearer secret-of-the-test');
      const key = `${upload.artifact_path} ${upload.content_hash}`;
      const status = stored.has(key) ? 200 : 201;
      stored.add(key);
      answers.push(status);
      requests += 1;
      await beforeAnswer(requests);
      response.writeHead(status).end('{}');
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  undo.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stored, answers };
}

test(
  'killed (-9) while it queues, every row that was told is there, and none twice',
  async () => {
    const told = new Set<number>();
    for (let life = 0; life < 6; life += 1) {
      const run = start(ENQUEUING, file, String(life * 500), '100000');
      const enough = 5 + life * 7;
      await waitFor(() => run.lines.length >= enough, { timeoutMs: 60_000, intervalMs: 1 });
      await kill(run);
      for (const line of run.lines) {
        const [word, n] = line.split(' ');
        expect(['queued', 'already_exists']).toContain(word);
        told.add(Number(n));
      }
    }
    const queue = openQueue(file, { nowMs });
    undo.push(() => queue.close());
    const rows = queue.due(200_000).map(({ upload }) => upload.artifact_path);
    expect(new Set(rows).size).toBe(rows.length);
    for (const n of told) expect(rows).toContain(body(`research/${n}.md`).artifact_path);
  },
  PATIENCE_MS,
);

test(
  'D.51 two processes that queue the same rows make each once',
  async () => {
    const runs = [start(ENQUEUING, file, '0', '150'), start(ENQUEUING, file, '0', '150')];
    for (const { ended } of runs) await ended;
    const lines = runs.flatMap((run) => run.lines);
    expect(lines).toHaveLength(302);
    expect(lines.filter((line) => line.startsWith('queued'))).toHaveLength(151);
    const queue = openQueue(file, { nowMs });
    undo.push(() => queue.close());
    expect(queue.status()).toMatchObject({ queued: 151, failed: 0 });
  },
  PATIENCE_MS,
);

test(
  'D.54 killed (-9) between send and mark, the row is sent again and exists already',
  async () => {
    const queue = openQueue(file, { nowMs });
    undo.push(() => queue.close());
    for (let n = 0; n < 5; n += 1) queue.enqueue(body(`research/${n}.md`));
    const lives: Run[] = [];
    // Stored, but the answer does not get out before the sender is dead: twice.
    const { url, stored, answers } = await receiver((n) => {
      return n === 2 || n === 4 ? kill(lives.at(-1) as Run) : undefined;
    });
    for (let life = 0; life < 3; life += 1) {
      lives.push(start(DRAINING, file, url));
      await lives.at(-1)?.ended;
    }
    expect(lives.slice(0, 2).flatMap(({ lines }) => lines)).toEqual([]);
    expect(JSON.parse(lives[2]?.lines[0] ?? '')).toMatchObject({ stopped: null, failed: 0 });
    expect(stored.size).toBe(5);
    expect(answers).toEqual([201, 201, 200, 201, 200, 201, 201]);
    expect(queue.status()).toMatchObject({ queued: 0, failed: 0 });
  },
  PATIENCE_MS,
);

test(
  'a queue that is being drained is not drained by a second process',
  async () => {
    const queue = openQueue(file, { nowMs });
    undo.push(() => queue.close());
    for (let n = 0; n < 3; n += 1) queue.enqueue(body(`research/${n}.md`));
    const second = Promise.withResolvers<Run>();
    const { url, answers } = await receiver(async (n) => {
      if (n !== 1) return;
      const run = start(DRAINING, file, url);
      await run.ended;
      second.resolve(run);
    });
    const first = start(DRAINING, file, url);
    expect((await second.promise).lines).toEqual(['busy']);
    await first.ended;
    expect(JSON.parse(first.lines[0] ?? '')).toMatchObject({ uploaded: 3, stopped: null });
    expect(answers).toEqual([201, 201, 201]);
  },
  PATIENCE_MS,
);
