import { loadGate } from '#libs/missionlog';
import { readEnvelope, startImplementation, toEnvelopes, initialState } from '#libs/missions';
import type { BenchOptions } from './options.ts';
import { pairRow, type Row } from './report.ts';
import { inPairs, median } from './stats.ts';

const EVENTS = 20_000;
const EVENTS_QUICK = 2_000;
const PAIRS = 9;
const PAIRS_QUICK = 3;
/** The contract's bound for one event, in ms. */
const GOAL_MS = 1;

/** The compatibility gate with the shapes of the types, against reading the same event as JSON. */
export async function benchGate(options: BenchOptions): Promise<Row[]> {
  const gate = loadGate(process.env);
  const text = sampleText();
  const count = options.quick ? EVENTS_QUICK : EVENTS;
  const rateOf = (once: () => unknown): number => {
    const startedAt = performance.now();
    for (let i = 0; i < count; i += 1) once();
    return (count / (performance.now() - startedAt)) * 1_000;
  };
  const raw = async () => rateOf(() => JSON.parse(text));
  const ours = async () => rateOf(() => readEnvelope(gate, 'consume', JSON.parse(text)));
  const pairs = await inPairs(options.quick ? PAIRS_QUICK : PAIRS, raw, ours, ours);
  const eventMs = 1_000 / median(pairs.ours);
  const met = eventMs < GOAL_MS ? 'met' : 'missed';
  const note = `${(eventMs * 1_000).toFixed(1)} µs an event; goal below ${GOAL_MS} ms: ${met}`;
  return [
    pairRow({ id: 'gate', what: 'mission event read and checked', unit: 'events/s', note }, pairs),
  ];
}

function sampleText(): string {
  const identity = {
    mission_slug: '064-demo',
    mission_number: '064',
    mission_type: 'software-dev',
  };
  const wps = [{ wp_id: 'WP01', title: 'One', dependencies: [] }];
  const board = { identity, targetBranch: 'main', wps };
  const command = { wpId: 'WP01', actor: 'alice', policy: undefined };
  const decision = startImplementation(board, initialState, command);
  if (!decision.ok) throw new Error(decision.error.message);
  const id = '5f0c4b52-0000-4000-8000-000000000001';
  const emitter = { projectUuid: id, nodeId: 'node', buildId: id };
  const stamp = { newId: () => '01J00000000000000000000ABC', nowMs: 0, lamport: 0, afterMs: 0 };
  return JSON.stringify(toEnvelopes(decision.value.events, identity, emitter, stamp)[0]);
}
