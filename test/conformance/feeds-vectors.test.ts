import { readFileSync } from 'node:fs';
import { headers as natsHeaders } from 'nats';
import { describe, expect, test } from 'vitest';
import { milestoneEvent, sentMilestoneEvent } from '#libs/contracts';
import { composeDemand, isDemandStale } from '#libs/feeds';
import { type Channel, deadLetters, idsOf, latest, read, startFeeds } from './feeds-kit.ts';
import type { System } from './harness.ts';
import { type Data, sendHttp, type Way, WAYS } from './wire.ts';

// What the original receiver was seen to answer, sent to ours over HTTP and over NATS. See
// test/vectors/openclaw/README.md for the classes.

type Request = { method: string; path: string; headers?: Data; body?: string };
type Observed = { status: number; body?: Data; text?: string };
type Step = { request: Request; originalResponse: Observed };
type Vector = Data & { id: string; class: string; serverNow: string; serverSecret?: string };

function load(name: string): Data {
  const file = new URL(`../vectors/openclaw/${name}-vectors.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as Data;
}

/** These are about the header time itself: it keeps its distance from the clock. */
const ABOUT_TIME = new Set(['m-70-ts-future-1h', 'm-73-ts-60s-old']);
const MISSING = new Set(['m-04-no-ts', 'm-07-empty-ts', 'd-04-no-ts']);

/** The header time that stands for the vector's own now. */
function timeFor(vector: Vector, header: string): string {
  if (MISSING.has(vector.id)) return header;
  if (!ABOUT_TIME.has(vector.id)) return new Date().toISOString();
  return new Date(Date.now() + Date.parse(header) - Date.parse(vector.serverNow)).toISOString();
}

/** Sends a request as it was observed, but for its time. */
async function replay(system: System, way: Way, vector: Vector, request: Request) {
  const given = Object.entries(request.headers ?? {}) as [string, string | string[]][];
  const headers = Object.fromEntries(
    given.map(([name, value]) => [
      name,
      name === 'x-openclaw-timestamp' ? timeFor(vector, String(value)) : value,
    ]),
  );
  const channel = /^\/internal\/(\w+)\/ingest$/.exec(request.path)?.[1] as Channel | undefined;
  if (way === 'nats' && channel !== undefined && request.method === 'POST') {
    const hdrs = natsHeaders();
    for (const [name, value] of Object.entries(headers)) {
      for (const one of [value].flat()) hdrs.append(name, one);
    }
    const options = { timeout: 20_000, headers: hdrs };
    const subject = `signed.v1.${channel}`;
    const answer = await system.broker.nc.request(subject, request.body ?? '', options);
    return { status: Number(answer.headers?.get('Ironclaw-Status')), body: answer.json<Data>() };
  }
  const answer = await sendHttp(system.url('intake'), request.method, request.path, {
    ...(request.body !== undefined && { body: request.body }),
    headers: headers as Record<string, string>,
  });
  return { status: answer.status, body: JSON.parse(answer.text) as Data };
}

/** Holds an answer against the observed one, as its class says. */
function judge(of: Pick<Vector, 'id' | 'class'>, ours: Observed, original: Observed): void {
  const shown = `${of.id}: ${JSON.stringify(ours)}`;
  expect(ours.status, shown).toBeLessThan(500);
  if (of.class === 'must-differ') {
    expect(ours.status, shown).toBeGreaterThanOrEqual(400);
  } else if (of.class === 'must-match') {
    expect(ours.status, shown).toBe(original.status);
    const { ok, status, milestoneId, summaryId } = original.body ?? {};
    const wanted = Object.entries({ ok, status, milestoneId, summaryId });
    expect(ours.body, shown).toMatchObject(
      Object.fromEntries(wanted.filter(([, value]) => value !== undefined)),
    );
  } else if (ours.status >= 400) {
    expect(ours.body, shown).toMatchObject({ ok: false });
  }
}

const isTaken = ({ status }: Observed): boolean => status === 200;
const start = (vector: Vector) =>
  startFeeds({ MILESTONE_SIGNING_SECRET: vector.serverSecret ?? '' });
const named = (vectors: Vector[]) =>
  vectors
    // Without a secret ours does not start: check 56.
    .filter(({ id }) => id !== 'm-79-no-server-secret')
    .map((vector) => [vector.id, vector] as const);

describe.each(WAYS)('over %s', (way) => {
  test.each(named(load('milestone-ingest').vectors as Vector[]))('%s', async (_id, vector) => {
    await using system = await start(vector);
    const ours = await replay(system, way, vector, vector.request as Request);
    judge(vector, ours, vector.originalResponse as Observed);
    const feed = await latest(system);
    expect(feed).toHaveLength(isTaken(ours) ? 1 : 0);
    expect(await deadLetters(system)).toHaveLength(isTaken(ours) ? 0 : 1);
    if (vector.class !== 'must-match') return;
    expect(feed).toEqual(vector.originalFeedAfter);
    expect((await deadLetters(system)).map((letter) => letter.idempotencyKey as string)).toEqual(
      (vector.originalDeadLetterAfter as Data[]).map((letter) => letter.idempotencyKey as string),
    );
  });

  test.each(named(load('demand-ingest').vectors as Vector[]))('%s', async (_id, vector) => {
    await using system = await start(vector);
    const ours = await replay(system, way, vector, vector.request as Request);
    judge(vector, ours, vector.originalResponse as Observed);
    const live = (await read(system, '/api/command-center/demand-live')).body;
    if (!isTaken(ours)) expect(live).toEqual({ ok: true, snapshot: null, stale: true });
    if (vector.class !== 'must-match') return;
    const { snapshot } = live as { snapshot: Parameters<typeof composeDemand>[0] };
    expect(snapshot).toEqual(vector.originalDemandLive.snapshot);
    // The views at the vector's own time.
    const nowMs = Date.parse((vector.viewedAt as string | undefined) ?? vector.serverNow);
    expect(isDemandStale(snapshot, nowMs)).toBe(vector.originalDemandLive.stale);
    const { segments, summary } = composeDemand(snapshot, nowMs);
    expect(segments).toEqual(vector.originalDemandView.segments);
    const prose = { demandNarrative: expect.stringMatching(/\S/) as string };
    expect(summary).toEqual({ ...vector.originalDemandView.summary, ...prose });
  });

  test.each(named(load('sequence').sequences as Vector[]))('%s', async (id, vector) => {
    await using system = await start(vector);
    for (const request of (vector.setup?.requests ?? []) as Request[]) {
      expect(isTaken(await replay(system, way, vector, request))).toBe(true);
    }
    if (id.startsWith('seq-13')) await reject(system, way, vector);
    for (const { request, originalResponse } of vector.steps as Step[]) {
      const ours = await replay(system, way, vector, request);
      judge(vector, ours, originalResponse);
      if (vector.class !== 'must-match') continue;
      const { itemIds, itemKeys, count } = originalResponse.body ?? {};
      if (itemIds !== undefined) expect(idsOf(ours.body.items as Data[])).toEqual(itemIds);
      if (itemKeys === undefined) continue;
      const keys = (ours.body.items as Data[]).map((letter) => letter.idempotencyKey as string);
      expect(keys).toEqual(itemKeys);
      expect(ours.body.count).toBe(count);
    }
  });
});

/** The 105 rejections that one sequence begins with. */
async function reject(system: System, way: Way, vector: Vector): Promise<void> {
  for (let index = 1; index <= 105; index += 1) {
    const body = JSON.stringify({ idempotencyKey: `rej-${index}`, event: {} });
    const headers = { 'x-openclaw-signature': '0'.repeat(64), 'x-openclaw-timestamp': 'now' };
    const path = '/internal/milestones/ingest';
    const { status } = await replay(system, way, vector, { method: 'POST', path, headers, body });
    expect(status).toBe(401);
  }
}

describe('events through the schema of senders', () => {
  test.each(
    (load('event-schema').vectors as Vector[]).map((vector) => [vector.id, vector] as const),
  )('%s', (_id, vector) => {
    const sent = sentMilestoneEvent.safeParse(vector.input);
    expect(sent.success).toBe(vector.strictSender.valid);
    if (sent.success) expect(sent.data).toEqual(vector.strictSender.output);
    // What a sender may send, a receiver takes.
    if (sent.success) expect(milestoneEvent.safeParse(sent.data).success).toBe(true);
  });
});
