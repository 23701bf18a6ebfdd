import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { API } from '#libs/contracts';
import { type Commanding, playbook, startCommanding, step } from './commanding.ts';

// Issue B, 8: plans by a model, versions, remedies, fan-out and fan-in, caps, request_id.

const WIDE = Array.from({ length: 8 }, (_, index) => `part${index}`);
const BOOKS = [
  playbook('one', [step('old')], 1),
  playbook('one', [step('new')], 2),
  playbook('wide', [
    ...WIDE.map((key) => step(key)),
    step('all', {
      depends_on: WIDE,
      prompt: { system: 's', files: WIDE.map((key) => `outputs/{{run_id}}/${key}.md`) },
    }),
  ]),
  playbook('mended', [
    step('main', { on_blocked: [step('find'), step('write', { depends_on: ['find'] })] }),
  ]),
];

let it: Commanding;
beforeAll(async () => {
  it = await startCommanding({ playbooks: BOOKS });
});
afterAll(() => it?.[Symbol.asyncDispose]());

const stepsOf = async (run_id: string): Promise<string[]> => {
  const at_least = await it.system.tail();
  const { orders } = await it.client.call(API.ledger.orders, { run_id, at_least });
  return orders.map((one) => one.step as string).toSorted((a, b) => (a < b ? -1 : 1));
};
const replyOf = async (run_id: string): Promise<string | null> => {
  const at_least = await it.system.tail();
  return (await it.client.call(API.gateway.run, { run_id, at_least })).reply;
};
const planText = (steps: unknown[], more = {}): string => JSON.stringify({ steps, ...more });
const planned = (key: string, depends_on: string[] = [], more = {}) => ({
  key,
  type: 'draft',
  objective: `Do ${key}`,
  depends_on,
  ...more,
});

describe('versions of a playbook', () => {
  test('the newest is taken, an older one by name; the run says which', async () => {
    const newest = await it.run({ playbook: 'one' });
    await it.work(newest, 'new');
    expect(await it.end(newest)).toMatchObject({ playbook: 'one', playbook_version: 2 });
    const older = await it.run({ playbook: 'one@1' });
    await it.work(older, 'old');
    expect(await it.end(older)).toMatchObject({ playbook: 'one', playbook_version: 1 });
    await expect(it.run({ playbook: 'one@3' })).rejects.toMatchObject({ code: 'UNKNOWN_PLAYBOOK' });
  });
});

test('eight orders at once, and one that depends on all', async () => {
  const run = await it.run({ playbook: 'wide' });
  const parts = await Promise.all(
    WIDE.map((key) => it.order(run, key, ({ enqueued_at }) => enqueued_at !== null)),
  );
  expect(parts.every(({ status }) => status === 'QUEUED')).toBe(true);
  expect(await it.order(run, 'all')).toMatchObject({ enqueued_at: null });
  await Promise.all(WIDE.map((key) => it.work(run, key)));
  await it.work(run, 'all', 'all eight together');
  expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
  expect(await replyOf(run)).toBe('all eight together');
  const events = await it.system.eventsOf({ run_id: run });
  const integrated = events.filter(({ type }) => type === 'INTEGRATED');
  expect(integrated).toHaveLength(9);
  const last = integrated.at(-2)?.seq as number;
  const all = (await it.order(run, 'all')).order_id;
  const enqueued = events.find((e) => e.type === 'ORDER_ENQUEUED' && e.order_id === all);
  expect(enqueued?.seq).toBeGreaterThan(last);
});

describe('a blocked order is mended by new ones', () => {
  test('the steps of its playbook, then it goes on', async () => {
    const run = await it.run({ playbook: 'mended' });
    await it.block(run, 'main', 'nobody knows the figure');
    await it.work(run, 'find');
    await it.work(run, 'write');
    await it.work(run, 'main', 'now it is known', 2);
    expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
    expect(await replyOf(run)).toBe('now it is known');
    const events = await it.system.eventsOf({ run_id: run });
    const replanned = events.filter(({ type }) => type === 'RUN_REPLANNED');
    expect(replanned).toHaveLength(1);
    expect(replanned[0]?.payload).toMatchObject({
      reason: expect.stringMatching(/nobody knows the figure/),
      attempt: 1,
    });
    expect(replanned[0]?.payload.order_ids).toHaveLength(2);
  });

  test('once; blocked again, the run fails', async () => {
    const run = await it.run({ playbook: 'mended' });
    await it.block(run, 'main', 'no');
    await it.work(run, 'find');
    await it.work(run, 'write');
    await it.block(run, 'main', 'still no', 2);
    expect((await it.end(run)).reason).toContain('still no');
  });

  test('not where the settings forbid it', async () => {
    const run = await it.run({ playbook: 'mended', settings: { replans: 0 } });
    await it.block(run, 'main', 'no');
    expect(await it.end(run)).toMatchObject({ status: 'FAILED' });
    expect(await it.types(run)).not.toContain('RUN_REPLANNED');
  });
});

describe('a model plans', () => {
  test('its plan becomes orders, and its last texts the reply', async () => {
    const run = await it.run({ playbook: 'planned', objective: 'Compare both' });
    const plan = planText([planned('a'), planned('b'), planned('c', ['a', 'b'])]);
    await it.work(run, 'plan', `Here it is:\n\`\`\`json\n${plan}\n\`\`\``);
    await Promise.all(['a', 'b'].map((key) => it.work(run, key)));
    const c = await it.order(run, 'c');
    expect(c.prompt.files).toEqual([`outputs/${run}/a.md`, `outputs/${run}/b.md`]);
    expect((await it.order(run, 'a')).prompt.files).toEqual([`inputs/${run}/message.md`]);
    await it.work(run, 'c', 'both compared');
    expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
    expect(await replyOf(run)).toBe('both compared');
  });

  test.each<[string, string, RegExp]>([
    ['a circle', planText([planned('a', ['b']), planned('b', ['a'])]), /in a circle: a, b/],
    [
      'an unknown profile',
      planText([planned('a', [], { profile: 'wizard' })]),
      /no profile wizard/,
    ],
    ['an unknown step', planText([planned('a', ['z'])]), /z does not name a step/],
    ['a key used twice', planText([planned('a'), planned('a')]), /a is used twice/],
    ['the planner’s own key', planText([planned('plan')]), /step plan: the run has/],
    [
      'too many orders',
      planText(Array.from({ length: 32 }, (_, i) => planned(`s${i}`))),
      /33 orders; 32 are allowed/,
    ],
    [
      'too deep',
      planText(Array.from({ length: 17 }, (_, i) => planned(`s${i}`, i > 0 ? [`s${i - 1}`] : []))),
      /17 orders wait for one another/,
    ],
    ['no JSON', 'I would rather not.', /holds no JSON object/],
    ['a type that is none', planText([{ ...planned('a'), type: 'hack' }]), /type/],
  ])('%s is refused, told to the model, and asked for once more', async (_name, bad, reason) => {
    const run = await it.run({ playbook: 'planned' });
    await it.work(run, 'plan', bad);
    const again = await it.order(run, 'plan-again');
    const refused = again.inputs.find(({ name }: { name: string }) => name.endsWith('refused.md'));
    expect(again.prompt.files).toContain(refused?.name);
    const events = await it.system.eventsOf({ run_id: run });
    const replanned = events.find(({ type }) => type === 'RUN_REPLANNED');
    expect(replanned?.payload.reason).toMatch(/^PLAN_REFUSED: /);
    expect(replanned?.payload.reason).toMatch(reason);
    await it.work(run, 'plan-again', planText([planned('a')]));
    await it.work(run, 'a', 'at last');
    expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
    expect(await replyOf(run)).toBe('at last');
  });

  test('refused twice, the run fails with the reasons', async () => {
    const run = await it.run({ playbook: 'planned' });
    await it.work(run, 'plan', '{}');
    await it.work(run, 'plan-again', planText([planned('a', ['a'])]));
    const ended = await it.end(run);
    expect(ended).toMatchObject({ status: 'FAILED', last_error: { code: 'PLAN_REFUSED' } });
    expect(ended.reason).toContain('circle');
    expect(await stepsOf(run)).toEqual(['plan', 'plan-again']);
  });

  test('a blocked order of a plan is given back to the planner', async () => {
    const run = await it.run({ playbook: 'planned' });
    await it.work(run, 'plan', planText([planned('a', [], { constraints: { max_retries: 0 } })]));
    await it.block(run, 'a', 'the figure is missing');
    const blocked = (await it.order(run, 'a')).order_id as string;
    const key = `mend-${blocked.slice(0, 12)}-1`;
    const mend = await it.order(run, key);
    expect(mend.prompt.files.some((file: string) => file.endsWith('/blocked.md'))).toBe(true);
    await it.work(run, key, planText([planned('find')]));
    await it.work(run, `${key}-find`);
    await it.work(run, 'a', 'with the figure', 2);
    expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
    expect(await replyOf(run)).toBe('with the figure');
  });
});

describe('caps of a run', () => {
  test('a playbook with more orders than the run may have is refused', async () => {
    const run = await it.run({ playbook: 'wide', settings: { max_orders: 8 } });
    const ended = await it.end(run);
    expect(ended).toMatchObject({ status: 'FAILED', last_error: { code: 'PLAN_REFUSED' } });
    const manual = await it.run({ playbook: 'wide', autopilot: false, settings: { max_depth: 1 } });
    await expect(it.client.call(API.co.plan, { run_id: manual })).rejects.toMatchObject({
      code: 'PLAN_REFUSED',
    });
  });

  test('settings of a run are checked when it is created', async () => {
    const before = await it.system.tail();
    await expect(it.run({ settings: { stall_ms: 1 } })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      field: 'settings.stall_ms',
    });
    const { events } = await it.client.call(API.ledger.events, {
      type: 'RUN_CREATED',
      from_seq: before + 1,
      at_least: await it.system.tail(),
    });
    expect(events).toEqual([]);
  });
});

test('twenty chats at once with one request_id are one run', async () => {
  const request = { message: 'Do it once', mode: 'async', playbook: 'one' } as const;
  const chat = (request_id: string, message: string = request.message) =>
    it.client.call(API.gateway.chat, { ...request, message, request_id });
  const answers = await Promise.all(Array.from({ length: 20 }, () => chat('q-1')));
  const ids = new Set(answers.map(({ run_id }) => run_id));
  expect(ids.size).toBe(1);
  const [run = ''] = ids as Set<string>;
  await it.work(run, 'new', 'once');
  await it.end(run);
  expect((await chat('q-1')).run_id).toBe(run);
  const types = await it.types(run);
  const once = ['RUN_CREATED', 'RUN_PLANNED', 'ORDER_CREATED', 'RUN_COMPLETED'];
  expect(types.filter((one) => once.includes(one))).toEqual([
    'RUN_CREATED',
    'ORDER_CREATED',
    'RUN_PLANNED',
    'RUN_COMPLETED',
  ]);
  await expect(chat('q-1', 'Do something else')).rejects.toMatchObject({
    code: 'REQUEST_ID_CONFLICT',
  });
});
