import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DemandSnapshot } from '#libs/contracts';
import { canonicalize, signBody, signingSecret } from '#libs/signing';
import {
  composeDemand,
  DEMAND_SEGMENTS,
  decodeEntry,
  type Delivery,
  demandTrend,
  feedSubject,
  isDemandStale,
  receive,
} from './mod.ts';

const NOW = Date.parse('2026-03-01T12:00:00.000Z');
const at = (offsetMs: number): string => new Date(NOW + offsetMs).toISOString();

const snapshot = (change: Partial<DemandSnapshot> = {}): DemandSnapshot => ({
  summaryId: 's',
  generatedAtUtc: at(0),
  source: 'orchestrator',
  queueTotal: 5,
  draftTotal: 3,
  selectedForDraftTotal: 1,
  tagCounts: { draft: 1, priority: 1, manualReview: 1 },
  topPillars: [],
  topKeywordClusters: [],
  segments: [],
  ...change,
});

describe('demand', () => {
  test('C.66 a snapshot is live for 600 s and stale a millisecond later', () => {
    expect(isDemandStale(null, NOW)).toBe(true);
    expect(isDemandStale(snapshot(), NOW + 600_000)).toBe(false);
    expect(isDemandStale(snapshot(), NOW + 600_001)).toBe(true);
    const { summary } = composeDemand(snapshot(), NOW + 601_000);
    expect(summary).toMatchObject({ source: 'stale', stale: true, queueTotal: 5 });
  });

  test('shows the known segments in their order, whatever a snapshot says', () => {
    const ids = DEMAND_SEGMENTS.map(({ id }) => id);
    const segment = fc.record({
      id: fc.oneof(fc.constantFrom(...ids), fc.string({ minLength: 1 })),
      label: fc.string({ minLength: 1 }),
      liveSignalCount: fc.nat(100),
      state: fc.constantFrom('hot' as const, 'warm' as const, 'idle' as const),
      staticWeight: fc.nat(9),
      clusterLabels: fc.array(fc.string()),
    });
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 12 }), (segments) => {
        const view = composeDemand(snapshot({ segments }), NOW);
        expect(view.segments.map(({ id }) => id)).toEqual(ids);
        const most = Math.max(...view.segments.map((one) => one.liveSignalCount));
        const top = view.segments.find(({ label }) => label === view.summary.topSegmentLabel);
        expect(top?.liveSignalCount ?? 0).toBe(most);
      }),
    );
  });

  test('a trend goes from the oldest to the newest', () => {
    expect(demandTrend([])).toBeNull();
    const history = [
      snapshot({ queueTotal: 9 }),
      snapshot({ queueTotal: 12, generatedAtUtc: at(-3_600_000) }),
      snapshot({ queueTotal: 3, generatedAtUtc: at(-7_200_000) }),
    ];
    const trend = demandTrend(history);
    expect(trend).toMatchObject({ from: at(-7_200_000), to: at(0), snapshots: 3 });
    expect(trend?.counters[0]).toEqual({
      name: 'queueTotal',
      min: 3,
      max: 12,
      change: 6,
      per_hour: 3,
    });
  });
});

describe('receiving', () => {
  const secret = signingSecret('s');
  const rules = { secrets: [secret], requireBound: false, windowMs: 300_000 };
  const envelope = (change: object = {}): object => ({
    idempotencyKey: ' k ',
    event: {
      milestoneId: ' m ',
      timestampUtc: '2026-03-01T11:00Z',
      scope: ' s ',
      claim: ' c ',
      evidence: [{ type: 'log', path: 'p', summary: 's', ref: '  ' }],
      riskStatus: 'blocked',
      nextAction: 'n',
      ...change,
    },
  });
  const delivery = (value: object, change: Partial<Delivery> = {}): Delivery => {
    const canonical = canonicalize(value);
    const timestamp = change.timestamp ?? at(0);
    return {
      channel: 'milestones',
      body: Buffer.from(JSON.stringify(value)),
      signature: signBody(secret, { channel: 'milestones', timestamp, canonical }),
      timestamp,
      arrivedMs: NOW,
      attemptId: 'a',
      ...change,
    };
  };

  test('trims names, keeps the instant, drops an empty ref and nothing else', () => {
    expect(receive(delivery(envelope()), rules)).toMatchObject({
      ok: true,
      entry: {
        channel: 'milestones',
        key: 'k',
        item: {
          milestoneId: 'm',
          timestampUtc: '2026-03-01T11:00:00.000Z',
          scope: 's',
          claim: 'c',
          evidence: [{ type: 'log', path: 'p', summary: 's' }],
          riskStatus: 'blocked',
          nextAction: 'n',
        },
        receipt: { mode: 'body', key_id: secret.keyId, skew_ms: 0 },
      },
    });
  });

  test('an event may be 300 s ahead of the clock and no more', () => {
    const of = (aheadMs: number) =>
      receive(delivery(envelope({ timestampUtc: at(aheadMs) })), rules);
    expect(of(300_000).ok).toBe(true);
    expect(of(300_001)).toMatchObject({ ok: false, status: 400, reasonClass: 'event' });
  });

  test('C.16 the window is exact, and is not asked of what an operator sends again', () => {
    const of = (offsetMs: number, own = rules) =>
      receive(delivery(envelope(), { timestamp: at(offsetMs) }), own);
    for (const side of [-1, 1]) {
      expect(of(side * 298_000).ok).toBe(true);
      expect(of(side * 302_000)).toMatchObject({ status: 401, reasonClass: 'timestamp' });
      expect(of(side * 302_000, { ...rules, redriven: true } as typeof rules)).toMatchObject({
        ok: true,
        entry: { receipt: { skew_ms: null } },
      });
    }
  });

  test('whatever comes is accepted or rejected with a reason, and never accepted unsigned', () => {
    const bytes = fc.oneof(fc.uint8Array(), fc.json().map(Buffer.from));
    fc.assert(
      fc.property(bytes, fc.string(), (body, signature) => {
        const received = receive(delivery({}, { body, signature }), rules);
        expect(received.ok).toBe(false);
        if (!received.ok) expect(received.reason).toMatch(/\S/);
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!JSON.stringify(value).includes('__proto__'));
        const received = receive(delivery(envelope({ extra: value })), rules);
        expect(received.ok).toBe(true);
      }),
    );
  });

  test('an entry is read back as it was stored, and other bytes are not one', () => {
    const received = receive(delivery(envelope()), rules);
    if (!received.ok) throw new Error(received.reason);
    const { entry } = received;
    const subject = feedSubject('milestones', entry.key);
    expect(subject).toMatch(/^feed\.v1\.milestones\.[0-9a-f]{64}$/);
    const data = Buffer.from(JSON.stringify(entry));
    const event_id = subject.slice('feed.v1.'.length);
    expect(decodeEntry(data, 7, subject)).toEqual({
      ok: true,
      event: { ...entry, seq: 7, event_id },
    });
    for (const text of ['', 'null', '{}', '[]', JSON.stringify({ ...entry, channel: 'demand' })]) {
      expect(decodeEntry(Buffer.from(text), 7, subject)).toMatchObject({ ok: false });
    }
  });
});
