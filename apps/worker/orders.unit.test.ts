import { jobMessage } from '#libs/contracts';
import { evolveOrder, type OrderState, unknownOrder } from '#libs/orders';
import { eventScript, when } from '#libs/testing';
import { describe, expect, test } from 'vitest';
import { toDelivery } from './lease.ts';
import { judge } from './orders.ts';
import { consumerName } from './queues.ts';
import { createStages } from './stages.ts';
import { giveUp } from './takeover.ts';
import { setTimeout as sleep } from 'node:timers/promises';

const ids = { order_id: 'o1', run_id: 'r1', theater_id: 'demo', garrison_id: 'g' };
const job = (attempt = 1) =>
  jobMessage.parse({ order_id: 'o1', theater_id: 'demo', worktree_path: '/w', attempt });

type Step = Parameters<ReturnType<typeof eventScript>['add']>;
const orderAfter = (...steps: Step[]): OrderState => {
  const script = eventScript({ unit_id: 'u1' });
  for (const step of steps) script.add(...step);
  return script.events.reduce<OrderState | undefined>(evolveOrder, undefined) ?? unknownOrder(ids);
};
const enqueued: Step = ['ORDER_ENQUEUED', { attempt: 1 }];
const started: Step = ['ORDER_STARTED', { attempt: 1 }];
const completed: Step = ['ORDER_COMPLETED', { attempt: 1 }];
const failed: Step = ['ORDER_FAILED', { attempt: 1 }];
const reissued: Step = ['ORDER_REISSUED', { attempt: 2 }];
const blocked: Step = ['ORDER_BLOCKED', { attempt: 1 }];
const cancelled: Step = ['ORDER_CANCELLED', {}];

describe('a delivered job', () => {
  test.each<[string, Step[], number, number | null, string]>([
    ['of an order nobody knows', [], 1, null, 'begin'],
    ['of a waiting order', [enqueued], 1, null, 'begin'],
    ['of the next attempt', [started, failed, reissued], 2, 5, 'begin'],
    ['whose own unit fell silent', [started], 1, 7, 'take over'],
    [
      'whose own unit fell silent in a later attempt',
      [started, reissued, started2()],
      1,
      7,
      'take over',
    ],
    ['of an order at work for another job', [started], 1, 5, 'drop'],
    ['of an order at work for nobody knows what', [started], 1, null, 'drop'],
    ['of a blocked order', [started, blocked], 1, 7, 'drop'],
    ['of a completed order', [started, completed], 1, 7, 'drop'],
    ['of a cancelled order', [cancelled], 1, null, 'drop'],
    ['of an attempt that is over', [started, failed, reissued], 1, 7, 'drop'],
    ['that the ledger is behind', [started, failed], 2, 7, 'wait'],
  ])('%s', (_, steps, attempt, jobSeq, verdict) => {
    expect(judge({ order: orderAfter(...steps), jobSeq }, job(attempt), 7).do).toBe(verdict);
  });
  function started2(): Step {
    return ['ORDER_STARTED', { attempt: 2 }];
  }
});

describe('the order of a silent unit', () => {
  test('gets its next attempt within the cap, else it fails', () => {
    const order = orderAfter(started);
    const [draft] = when(order, giveUp(order, 1)).thenEvents('ORDER_REISSUED');
    expect(draft?.payload).toMatchObject({ attempt: 2, reason: 'lease_expired' });
    const [last] = when(order, giveUp(order, 0)).thenEvents('ORDER_FAILED');
    expect(last?.payload).toMatchObject({ code: 'LEASE_EXPIRED', retryable: false });
  });

  test('is left alone once it has moved on', () => {
    const seen = orderAfter(started);
    when(orderAfter(started, completed), giveUp(seen, 1)).thenNothing();
    when(orderAfter(started, failed, reissued), giveUp(seen, 1)).thenNothing();
  });
});

test('names of queues differ, and are names', () => {
  const names = [
    consumerName('a_b', 'c'),
    consumerName('a', 'b_c'),
    consumerName('a', 'b'),
    consumerName('x'.repeat(128), 'y'.repeat(128)),
    consumerName('x'.repeat(128), 'z'.repeat(128)),
  ];
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[^\s.*>/\\]{1,200}$/);
});

test.each([
  ['$JS.ACK.JOBS.w_demo.3.42.9.1700000000000000000.0', 3, 42],
  ['$JS.ACK.hub.abc.JOBS.w_demo.3.42.9.1700000000000000000.0.tok', 3, 42],
])('the reply subject tells sequence and deliveries: %s', (reply, deliveries, seq) => {
  const message = { subject: 'job.v1.demo.default', data: new Uint8Array(), reply };
  expect(toDelivery({} as never, message)).toMatchObject({ deliveries, seq });
});

test('a notice without a reply subject is no delivery', () => {
  const message = { subject: '_INBOX.x', data: new Uint8Array() };
  expect(toDelivery({} as never, message)).toBeUndefined();
});

test('stages are told at most so often: the first, then whichever lasts', async () => {
  const told: string[] = [];
  const stages = createStages(async (stage) => {
    told.push(stage);
  }, 20);
  stages.enter('starting');
  stages.enter('initializing');
  stages.enter('calling_model');
  await sleep(60);
  stages.enter('writing_artifacts');
  stages.enter('committing');
  await stages.end();
  await sleep(40);
  expect(told).toEqual(['starting', 'calling_model', 'writing_artifacts']);
  expect(stages.current()).toBe('committing');
});
