import type { EventType, StoredEvent } from '#libs/contracts';

/** Deterministic numbers in [0, 1): mulberry32. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const EPOCH = Date.parse('2026-01-14T16:21:00Z');
const SHA = 'a94a8fe5ccb19ba61c4c0873d391e987982fbbd3';

const ORDER_STEPS: readonly [EventType, Record<string, unknown>][] = [
  ['ORDER_CREATED', { step: 'draft', type: 'DRAFT', objective: 'Write the summary of the call' }],
  ['ORDER_ENQUEUED', { attempt: 1, class: 'default' }],
  ['WORKTREE_READY', { worktree_path: '/theaters/demo/worktrees/x', branch: 'order/x' }],
  ['ORDER_STARTED', { attempt: 1, worker: 'worker-1' }],
  ['UNIT_SIGNAL', { attempt: 1, stage: 'writing', message: 'outputs/draft.md' }],
  ['ARTIFACT_WRITTEN', { attempt: 1, path: 'outputs/draft.md', type: 'text/markdown', bytes: 812 }],
  [
    'ORDER_COMPLETED',
    {
      attempt: 1,
      commit_sha: SHA,
      artifacts: [{ path: 'outputs/draft.md', type: 'text/markdown' }],
      aar: { path: 'aar.json', status: 'completed' },
      duration_ms: 1234,
    },
  ],
  ['INTEGRATION_STARTED', { attempt: 1, gate_profile: 'default' }],
  ['INTEGRATION_PASSED', { attempt: 1, gates: [] }],
  ['INTEGRATED', { attempt: 1, commit_sha: SHA, mainline: 'main' }],
];
const ORDERS_A_RUN = 5;
/** Runs under way at once. */
const WIDTH = 100;

type Live = {
  run: string;
  theater: string;
  at: number;
  steps: [EventType, string | null, object][];
};

/** A well-formed history: runs of five orders, many under way at once; about 52 events a run. */
export function* history(count: number, seed = 1): Generator<StoredEvent> {
  const next = random(seed);
  const live: Live[] = [];
  let runs = 0;
  for (let seq = 1; seq <= count; seq += 1) {
    const slot = Math.floor(next() * WIDTH);
    let run = live[slot];
    if (run === undefined || run.at >= run.steps.length) {
      runs += 1;
      run = newRun(runs);
      live[slot] = run;
    }
    const [type, order, payload] = run.steps[run.at] as Live['steps'][number];
    run.at += 1;
    yield eventOf(
      seq,
      type,
      { theater_id: run.theater, run_id: run.run, order_id: order },
      payload,
    );
  }
}

function newRun(number: number): Live {
  const run = `01K${String(number).padStart(23, '0')}`;
  const steps: Live['steps'] = [
    ['RUN_CREATED', null, { objective: 'Summarize the call', user_id: 'ada', autopilot: true }],
  ];
  for (let index = 0; index < ORDERS_A_RUN; index += 1) {
    const order = `01M${String(number * ORDERS_A_RUN + index).padStart(23, '0')}`;
    for (const [type, payload] of ORDER_STEPS) steps.push([type, order, payload]);
  }
  steps.push(['RUN_COMPLETED', null, { duration_ms: 5_000 }]);
  return { run, theater: `theater-${number % 3}`, at: 0, steps };
}

type Place = Pick<StoredEvent, 'theater_id' | 'run_id' | 'order_id'>;

/** One event with an id and a time that follow from its sequence. */
export function eventOf(
  seq: number,
  type: EventType,
  place: Partial<Place>,
  payload: object = {},
): StoredEvent {
  return {
    event_id: `01J${String(seq * 7_919).padStart(23, '0')}`,
    ts: new Date(EPOCH + seq * 20).toISOString(),
    type,
    garrison_id: 'main',
    theater_id: place.theater_id ?? null,
    run_id: place.run_id ?? null,
    order_id: place.order_id ?? null,
    unit_id: null,
    payload,
    seq,
  } as StoredEvent;
}

const MESSY_TYPES: readonly EventType[] = [
  ...ORDER_STEPS.map(([type]) => type),
  'ORDER_CLAIMED',
  'ORDER_BLOCKED',
  'ORDER_FAILED',
  'ORDER_REISSUED',
  'ORDER_CANCELLED',
  'RUN_CREATED',
  'RUN_UPDATED',
  'RUN_COMPLETED',
  'RUN_FAILED',
  'THEATER_OPENED',
  'ESCALATION_RAISED',
  'PATROL_TICK',
];

/** A history without rhyme or reason: any type for any order, ids that repeat, gaps, odd times. */
export function* messyHistory(count: number, seed: number): Generator<StoredEvent> {
  const next = random(seed);
  const pick = (below: number): number => Math.floor(next() * below);
  const ids: string[] = [];
  let seq = 0;
  for (let index = 0; index < count; index += 1) {
    seq += 1 + (next() < 0.05 ? pick(2_000) : 0);
    const type = MESSY_TYPES[pick(MESSY_TYPES.length)] as EventType;
    const order = next() < 0.1 ? null : `order-${pick(Math.max(4, count / 12))}`;
    const run = next() < 0.1 ? null : `run-${pick(Math.max(2, count / 60))}`;
    const theater = next() < 0.05 ? null : `theater-${pick(3)}`;
    const payload = next() < 0.5 ? {} : { attempt: 1 + pick(3), reason: `because ${pick(9)}` };
    const place = { theater_id: theater, run_id: run, order_id: order };
    const event = eventOf(seq, type, place, payload);
    if (ids.length > 0 && next() < 0.04) event.event_id = ids[pick(ids.length)] as string;
    if (next() < 0.1) event.ts = new Date(EPOCH + pick(1_000_000_000)).toISOString();
    ids.push(event.event_id);
    yield event;
  }
}
