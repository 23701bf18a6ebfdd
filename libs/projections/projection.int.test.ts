import { existsSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdtemp, open as openFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { testLogger, waitFor } from '#libs/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openProjection, type Projection, type ProjectionOptions } from './projection.ts';
import { type Scripted, scripted } from './testdata/scripted.ts';
import { type Account, accountsView, logView, type Toy, toy, toys } from './testdata/toy.ts';

let folder: string;
const open = new Set<Projection>();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ironclaw-views-'));
});
afterEach(async () => {
  for (const projection of open) await projection.close();
  open.clear();
  await rm(folder, { recursive: true, force: true });
});

type Options = Partial<ProjectionOptions<Toy>>;

async function start(stream: Scripted<Toy>, options: Options = {}): Promise<Projection> {
  const projection = await openProjection<Toy>({
    folder,
    name: 'toy',
    views: [logView, accountsView()],
    logger: testLogger('views'),
    probeMs: 20,
    source: stream.source,
    tail: stream.tail,
    streamId: stream.streamId,
    ...options,
  });
  open.add(projection);
  return projection;
}

async function stop(projection: Projection): Promise<void> {
  open.delete(projection);
  await projection.close();
}

const soon = { timeoutMs: 5_000 };

function account(projection: Projection, id: string): Account | undefined {
  const row = projection.read((db) =>
    db.get<{ state: string }>('SELECT state FROM accounts WHERE id = ?', id),
  );
  return row && (JSON.parse(row.state) as Account);
}

async function cleanDigest(events: Toy[]): Promise<string> {
  const clean = await start(scripted(events), { folder: join(folder, 'clean') });
  await clean.waitFor(events.at(-1)?.seq ?? 0, soon);
  const { sha256 } = await clean.digest();
  await stop(clean);
  await rm(join(folder, 'clean'), { recursive: true });
  return sha256;
}

const files = (): string[] => readdirSync(folder).filter((name) => name.endsWith('.db'));

describe('following', () => {
  test('events are readable once waited for, and live ones at once', async () => {
    const stream = scripted(toys(1, 1_000));
    const projection = await start(stream);
    await projection.waitFor(1_000, soon);
    expect(account(projection, 'a0')).toMatchObject({ events: 200, total: 100_500 });
    stream.push(toy(1_001, 'new'));
    await projection.waitFor(1_001, soon);
    expect(account(projection, 'new')).toMatchObject({ total: 1_001 });
    expect(projection.read((db) => db.seq)).toBe(1_001);
  });

  test('a view that stays behind answers VIEW_BEHIND, also when aborted', async () => {
    const projection = await start(scripted(toys(1, 3)));
    await projection.waitFor(3, soon);
    await expect(projection.waitFor(4, { timeoutMs: 30 })).rejects.toMatchObject({
      code: 'VIEW_BEHIND',
      message: 'The view is at sequence 3, still behind 4',
    });
    const abort = new AbortController();
    const waiting = projection.waitFor(4, { timeoutMs: 5_000, signal: abort.signal });
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'VIEW_BEHIND' });
  });

  test('what the stream does not hold is refused; what it holds is waited for', async () => {
    const stream = scripted(toys(1, 3));
    let end = 3;
    const projection = await start(stream, { tail: async () => end });
    await projection.reflect(3);
    await expect(projection.reflect(4)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      field: 'at_least',
      message: 'at_least: the stream ends at 3',
    });
    // Stored, as the broker says, and not yet applied.
    end = 4;
    const waiting = projection.reflect(4);
    await sleep(600);
    stream.push(toy(4, 'late'));
    await waiting;
    expect(account(projection, 'late')).toMatchObject({ total: 4 });
  });

  test('while the broker does not say where the stream ends, nothing is refused', async () => {
    const stream = scripted(toys(1, 3));
    let away = false;
    const tail = () => (away ? Promise.reject(new Error('away')) : stream.tail());
    const projection = await start(stream, { tail });
    away = true;
    const waiting = projection.reflect(4);
    await sleep(600);
    stream.push(toy(4, 'late'));
    await waiting;
  });

  test('status tells the lag, and caughtUpAt the time it was last level', async () => {
    const stream = scripted(toys(1, 10));
    const projection = await start(stream);
    const before = performance.now();
    await projection.catchUp(soon);
    expect(projection.caughtUpAt()).toBeGreaterThanOrEqual(before);
    await waitFor(() => projection.status()[0]?.state === 'live');
    expect(projection.status()).toEqual([
      { name: 'log', seq: 10, stream_seq: 10, lag: 0, state: 'live', poison: 0 },
      { name: 'accounts', seq: 10, stream_seq: 10, lag: 0, state: 'live', poison: 0 },
    ]);
  });

  test('a source that breaks is opened again where the rows stand', async () => {
    const stream = scripted(toys(1, 50));
    const projection = await start(stream);
    await projection.waitFor(50, soon);
    stream.breakAll();
    await waitFor(() => stream.opened.length >= 2);
    stream.push(...toys(51, 60));
    await projection.waitFor(60, soon);
    expect(stream.opened).toEqual([1, 50]);
    expect((await projection.digest()).sha256).toBe(await cleanDigest(toys(1, 60)));
  });

  test('reads cannot write', async () => {
    const projection = await start(scripted(toys(1, 2)));
    await projection.waitFor(2, soon);
    expect(() => projection.read((db) => db.all('DELETE FROM log'))).toThrow(/readonly/);
  });
});

describe('starting again', () => {
  test('goes on where it stopped', async () => {
    const stream = scripted(toys(1, 100));
    const first = await start(stream);
    await first.waitFor(100, soon);
    await stop(first);
    stream.push(...toys(101, 150));
    const second = await start(stream);
    expect(second.at()).toBe(100);
    await second.waitFor(150, soon);
    expect(stream.opened).toEqual([1, 100]);
    expect((await second.digest()).sha256).toBe(await cleanDigest(toys(1, 150)));
  });

  test('another version of a view builds them anew', async () => {
    const stream = scripted(toys(1, 20));
    const first = await start(stream);
    await first.waitFor(20, soon);
    await stop(first);
    const second = await start(stream, { views: [logView, accountsView(2, 'new')] });
    await second.waitFor(20, soon);
    expect(stream.opened).toEqual([1, 1]);
    expect(account(second, 'a0')).toMatchObject({ padding: 'new', events: 4 });
    expect(files()).toHaveLength(1);
  });

  test('another stream under the same name is never mixed in', async () => {
    const stream = scripted(toys(1, 20));
    const first = await start(stream);
    await first.waitFor(20, soon);
    await stop(first);
    stream.replace('stream-2', [toy(1, 'other'), toy(2, 'other')]);
    const second = await start(stream);
    await second.waitFor(2, soon);
    expect(account(second, 'a0')).toBeUndefined();
    expect(account(second, 'other')).toMatchObject({ events: 2 });
  });

  test.each([
    ['is made anew while it is followed', 'stream-2', [toy(1, 'other')]],
    ['is set back to an earlier end', 'stream-1', toys(1, 5)],
    [
      'has another past',
      'stream-1',
      [...toys(1, 19), toy(20, 'x', { event_id: 'other' }), toy(21)],
    ],
  ])('starts over when the stream %s', async (_how, id, events) => {
    const stream = scripted(toys(1, 20));
    const projection = await start(stream);
    await projection.waitFor(20, soon);
    stream.replace(id, events);
    const end = events.at(-1)?.seq ?? 0;
    await waitFor(() => projection.at() === end && stream.opened.at(-1) === 1);
    expect((await projection.digest()).sha256).toBe(await cleanDigest(events));
    expect(files()).toHaveLength(1);
  });

  test.each([
    ['no database', (file: string) => writeFileSync(file, 'torn '.repeat(5_000))],
    ['cut short', (file: string) => truncateSync(file, Math.floor(statSync(file).size / 2))],
    ['empty', (file: string) => truncateSync(file, 0)],
  ])('a file that is %s is built anew', async (_how, damage) => {
    const stream = scripted(toys(1, 2_000));
    const first = await start(stream);
    await first.waitFor(2_000, soon);
    await stop(first);
    damage(join(folder, 'toy.1.db'));
    const second = await start(stream);
    await second.waitFor(2_000, soon);
    expect((await second.digest()).sha256).toBe(await cleanDigest(toys(1, 2_000)));
  });

  test('damage that shows only when it is read is met by building anew', async () => {
    const stream = scripted(toys(1, 5_000));
    const first = await start(stream);
    await first.waitFor(5_000, soon);
    await stop(first);
    const file = join(folder, 'toy.1.db');
    const { size } = statSync(file);
    const handle = await openFile(file, 'r+');
    // All pages but those of the schema, the position and the first tables.
    await handle.write(Buffer.alloc(size - 6 * 8192, 0xff), 0, size - 6 * 8192, 6 * 8192);
    await handle.close();
    const second = await start(stream);
    // Until it has noticed and is level again, reads answer VIEW_BEHIND.
    const count = () => second.read((db) => db.get<{ n: number }>('SELECT count(*) n FROM log')?.n);
    await waitFor(() => count() === 5_000);
    expect((await second.digest()).sha256).toBe(await cleanDigest(toys(1, 5_000)));
    expect(existsSync(join(folder, 'toy.damaged.db'))).toBe(true);
  });
});

describe('events that cannot be applied', () => {
  test('are set aside, listed, and the rest goes on', async () => {
    const events = toys(1, 30);
    events[6] = toy(7, 'a2', { fail: true });
    events[9] = toy(10, 'a0', { event_id: 'e9' });
    const stream = scripted(events);
    stream.pushPoison(31);
    stream.push(toy(32, 'last'));
    const projection = await start(stream);
    await projection.waitFor(32, soon);
    expect(projection.poison(10)).toEqual([
      expect.objectContaining({ seq: 7, view: 'accounts', reason: 'cannot be folded' }),
      expect.objectContaining({ seq: 10, view: 'log', event_id: 'e9' }),
      expect.objectContaining({ seq: 31, view: '*', subject: 'led.v1.x', bytes: 3 }),
    ]);
    expect(projection.poison(10, 7)).toHaveLength(2);
    expect(projection.status().map(({ poison }) => poison)).toEqual([1, 1]);
    // Each view stands for itself: what one could not apply, the others hold.
    expect(account(projection, 'a2')).toMatchObject({ events: 5 });
    const logged = projection.read((db) => db.get<{ n: number }>('SELECT count(*) n FROM log')?.n);
    expect(logged).toBe(30);
    expect(account(projection, 'last')).toMatchObject({ total: 32 });
  });

  test('come to the same rows whatever the batches', async () => {
    const events = toys(1, 200).map((event) =>
      event.seq % 13 === 0 ? { ...event, fail: true as const } : event,
    );
    const digests = new Set<string>();
    for (const size of [1, 7, 200]) {
      const projection = await start(
        scripted(events, () => size),
        { name: `toy${size}` },
      );
      await projection.waitFor(200, soon);
      digests.add((await projection.digest()).sha256);
    }
    expect(digests.size).toBe(1);
  });
});

describe('rebuild', () => {
  test('under live events comes to the same rows, and is remembered', async () => {
    const stream = scripted(toys(1, 3_000), () => 50);
    const projection = await start(stream);
    await projection.waitFor(3_000, soon);
    let seq = 3_000;
    const pushing = setInterval(() => stream.push(...toys(seq + 1, (seq += 7))), 1);
    try {
      await Promise.all([projection.rebuild(), projection.rebuild()]);
      expect(stream.opened).toEqual([1, 1]);
      expect(files()).toEqual(['toy.2.db']);
    } finally {
      clearInterval(pushing);
    }
    await projection.waitFor(seq, soon);
    const wanted = await cleanDigest(toys(1, seq));
    expect((await projection.digest()).sha256).toBe(wanted);
    await stop(projection);
    const again = await start(stream);
    expect(again.at()).toBe(seq);
    expect((await again.digest()).sha256).toBe(wanted);
  });

  test('serves the old rows meanwhile, and the position never falls', async () => {
    const stream = scripted(toys(1, 2_000), () => 20);
    const projection = await start(stream);
    await projection.waitFor(2_000, soon);
    let done = false;
    const rebuilding = projection.rebuild().then(() => {
      done = true;
    });
    while (!done) {
      expect(projection.at()).toBe(2_000);
      expect(account(projection, 'a0')).toMatchObject({ events: 400 });
      expect(['rebuilding', 'live', 'catching-up']).toContain(projection.status()[0]?.state);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await rebuilding;
  });

  test('of an empty stream is done at once', async () => {
    const stream = scripted<Toy>();
    const projection = await start(stream);
    await projection.rebuild();
    stream.push(toy(1));
    await projection.waitFor(1, soon);
    expect(files()).toEqual(['toy.2.db']);
  });

  test('given up half way leaves the old rows, and no file', async () => {
    const stream = scripted(toys(1, 2_000), () => 10);
    const projection = await start(stream);
    await projection.waitFor(2_000, soon);
    const rebuilding = projection.rebuild();
    rebuilding.catch(() => undefined);
    await waitFor(() => files().length === 2);
    await stop(projection);
    await expect(rebuilding).rejects.toThrow('ended early');
    expect(files()).toEqual(['toy.1.db']);
    const again = await start(stream);
    expect(again.at()).toBe(2_000);
  });
});

test('memory stays bounded: heavy states leave the cache and come back', async () => {
  const heavy = accountsView(1, 'x'.repeat(40_000));
  const events = Array.from({ length: 3_000 }, (_, i) => toy(i + 1, `acc${i % 1_000}`));
  const projection = await start(scripted(events), { views: [heavy] });
  await projection.waitFor(3_000, { timeoutMs: 20_000 });
  expect(account(projection, 'acc7')).toMatchObject({ events: 3 });
});
