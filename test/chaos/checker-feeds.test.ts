import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, type Evidence } from './check/mod.ts';
import { type Recorded, recordRun } from './testdata/recorded.ts';

// As checker.test.ts: what may go wrong with signed deliveries and with IronClaw's own milestones.

type Spoilt = { -readonly [K in keyof Evidence]: Evidence[K] };
type Spoiler = [what: string, invariant: string, spoil: (evidence: Spoilt) => void];

let recorded: Recorded;
beforeAll(async () => {
  recorded = await recordRun();
});
afterAll(() => recorded[Symbol.asyncDispose]());

const SPOILERS: Spoiler[] = [
  [
    'an accepted delivery is lost',
    'deliveries',
    (e) => {
      e.feed = e.feed.filter(({ key }) => key !== 'told-1');
    },
  ],
  [
    'an accepted delivery is there twice',
    'deliveries',
    (e) => {
      e.feed = [...e.feed, ...e.feed.filter(({ key }) => key === 'told-1')];
      e.feedLastSeq += 1;
    },
  ],
  [
    'a delivery is another than was sent',
    'deliveries',
    (e) => {
      const change = { claim: 'something else' };
      e.feed = e.feed.map((one) =>
        one.key === 'told-1' ? { ...one, item: { ...one.item, ...change } } : one,
      );
    },
  ],
  [
    'a delivery was new twice',
    'deliveries',
    (e) => void e.oracle.deliveries.get('told-1')?.answers.push('200 accepted'),
  ],
  [
    'a delivery was never answered',
    'deliveries',
    (e) => void e.oracle.deliveries.get('told-1')?.answers.splice(0),
  ],
  [
    'a right signature was refused',
    'deliveries',
    (e) => void e.oracle.deliveries.get('told-1')?.answers.push('401 rejected'),
  ],
  [
    'a forged delivery was accepted',
    'deliveries',
    (e) => void e.oracle.deliveries.get('forged-1')?.answers.push('200 accepted'),
  ],
  [
    'a forged delivery is in the feed',
    'deliveries',
    (e) => {
      const item = e.oracle.deliveries.get('forged-1')?.envelope.event ?? {};
      e.feedLastSeq += 1;
      e.feed = [...e.feed, { seq: e.feedLastSeq, key: 'forged-1', channel: 'milestones', item }];
    },
  ],
  [
    'a forged delivery vanished from the queue',
    'deliveries',
    (e) => {
      e.dead = [];
    },
  ],
  [
    'an item was deleted from the feed',
    'deliveries',
    (e) => {
      e.feedLastSeq += 1;
    },
  ],
  [
    'a delivery that is not forged was set aside',
    'dead letters',
    (e) => {
      e.dead = e.dead.map((one) => ({ ...one, payload: one.payload.replaceAll('forged', 'told') }));
    },
  ],
  ...['run.started.r1', 'run.completed.r1', 'integration.passed.o1.1'].flatMap((id): Spoiler[] => [
    [
      `${id} was not told`,
      'milestones',
      (e) => {
        e.feed = e.feed.filter(({ item }) => item.milestoneId !== id);
      },
    ],
    [
      `${id} was told twice`,
      'milestones',
      (e) => {
        const twice = e.feed.filter(({ item }) => item.milestoneId === id);
        e.feed = [...e.feed, ...twice.map((one) => ({ ...one, key: 'another key' }))];
      },
    ],
  ]),
  [
    'a milestone of nothing',
    'milestones',
    (e) => {
      const item = { source: 'orchestrator', milestoneId: 'run.failed.r9' };
      e.feed = [...e.feed, { seq: 99, key: 'k', channel: 'milestones', item }];
    },
  ],
  [
    'what was delivered is not there',
    'milestones',
    (e) => {
      const record = { id: 'd', channel: 'demand', key: 'lost', itemId: 'd', state: 'delivered' };
      e.outbox = [...e.outbox, record];
    },
  ],
  ...['pending', 'retrying', 'rejected', 'dead'].map(
    (state): Spoiler => [
      `a delivery is ${state} at the end`,
      'milestones',
      (e) => {
        e.outbox = e.outbox.map((one) => ({ ...one, state }));
      },
    ],
  ),
];

test.each(SPOILERS)('%s: %s', async (_what, invariant, spoil) => {
  const evidence: Spoilt = await recorded.evidence();
  spoil(evidence);
  expect(check(evidence).map((violation) => violation.invariant)).toContain(invariant);
});

test('what happened after all had come to an end may be on its way, but is not told twice', async () => {
  const evidence: Spoilt = await recorded.evidence();
  const id = 'run.completed.r1';
  const { seq = 0 } = evidence.events.find(({ type }) => type === 'RUN_COMPLETED') ?? {};
  const { feed } = evidence;
  const own = feed.filter(({ item }) => item.milestoneId === id);
  evidence.quietSeq = seq - 1;
  evidence.feed = feed.filter((one) => !own.includes(one));
  evidence.feedLastSeq = evidence.feed.length;
  evidence.outbox = evidence.outbox.map((one) =>
    one.itemId === id ? { ...one, state: 'pending' } : one,
  );
  expect(check(evidence)).toEqual([]);
  evidence.feed = [...feed, ...own.map((one) => ({ ...one, key: 'another key' }))];
  evidence.feedLastSeq = evidence.feed.length;
  expect(check(evidence).map(({ invariant }) => invariant)).toEqual(['milestones']);
});
