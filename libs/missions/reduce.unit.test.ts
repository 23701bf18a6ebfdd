import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { normaliseEventId, type MissionEnvelope } from '#libs/contracts';
import { parseClock, receive, tick } from './clock.ts';
import { LANES } from './lanes.ts';
import { evolve, fold, initialState, RUN_REQUESTED } from './state.ts';
import {
  appendRows,
  importRows,
  parseLog,
  reduceRows,
  renderRow,
  rowOf,
  type StatusRow,
} from './status-log.ts';
import { BOARD, EMITTER } from './testdata/boards.ts';

const wp = fc.constantFrom('WP01', 'WP02', 'WP03');
const lane = fc.constantFrom(...LANES);
const actor = fc.constantFrom('alice', 'bob');

const content = fc.oneof(
  fc
    .record({ wp_id: wp, from_lane: lane, to_lane: lane, actor, force: fc.boolean() })
    .map((payload) => ({ type: 'WPStatusChanged', payload: { ...payload, reason: 'r' } })),
  fc
    .record({
      wp_id: wp,
      author: actor,
      entry_content: fc.string({ minLength: 1 }),
      done: fc.boolean(),
    })
    .map(({ done, ...payload }) => ({
      type: 'HistoryAdded',
      payload: { ...payload, entry_type: 'note', subtask: { id: 'T001', done } },
    })),
  fc
    .record({ wp_id: wp, title: actor, dependencies: fc.subarray(['WP01', 'WP02']) })
    .map((payload) => ({ type: 'WPCreated', payload })),
  fc
    .record({ wp_id: wp, dependency_wp_id: wp })
    .map((payload) => ({ type: 'DependencyResolved', payload })),
  fc.record({ closing: actor }).map((payload) => ({ type: 'MissionClosed', payload })),
  fc.record({ target_branch: actor }).map((payload) => ({ type: 'MissionCreated', payload })),
  fc.record({ active: fc.boolean() }).map((payload) => ({ type: RUN_REQUESTED, payload })),
  fc
    .record({ merge_refused: fc.option(fc.record({ attempt: fc.nat(3) }), { nil: undefined }) })
    .map((payload) => ({ type: 'ErrorLogged', payload })),
);

/** Events of a mission, each id once; clocks, nodes and times often equal. */
const log = fc
  .array(fc.tuple(content, fc.nat(4), fc.constantFrom('n1', 'n2'), fc.nat(2)), { maxLength: 15 })
  .map((items) =>
    items.map(
      ([{ type, payload }, lamport_clock, node_id, second], i): MissionEnvelope => ({
        event_id: `01J${String(i).padStart(23, '0')}`,
        event_type: type,
        aggregate_id: 'x',
        aggregate_type: 'Mission',
        schema_version: '3.0.0',
        build_id: EMITTER.buildId,
        node_id,
        lamport_clock,
        timestamp: `2026-04-06T00:00:0${second}.000Z`,
        causation_id: null,
        correlation_id: 'c',
        payload: { ...BOARD.identity, ...payload },
      }),
    ),
  );

/** A log, and the same events in any order with any repeats. */
const shuffled = log.chain((events) =>
  fc
    .tuple(
      fc.shuffledSubarray(events, { minLength: events.length, maxLength: events.length }),
      fc.array(fc.nat(Math.max(0, events.length - 1)), { maxLength: 10 }),
      fc.array(fc.nat(30), { maxLength: 10 }),
    )
    .map(([order, repeats, places]) => {
      const mixed = [...order];
      for (const [i, index] of repeats.entries()) {
        const event = events[index];
        if (event !== undefined) mixed.splice((places[i] ?? 0) % (mixed.length + 1), 0, event);
      }
      return { events, mixed };
    }),
);

describe('reduction', () => {
  test('D.47 any order with any repeats gives the same state', () => {
    fc.assert(
      fc.property(shuffled, ({ events, mixed }) => {
        expect(fold(initialState, mixed)).toEqual(fold(initialState, events));
      }),
    );
  });

  test('D.47 one by one is the same as at once, and nothing given is changed', () => {
    fc.assert(
      fc.property(log, (events) => {
        const before = structuredClone(events);
        const whole = fold(initialState, events);
        expect(events.reduce(evolve, initialState)).toEqual(whole);
        expect(fold(whole, events)).toEqual(whole);
        expect(events).toEqual(before);
        expect(initialState.ids.size).toBe(0);
      }),
    );
  });

  test('D.47 status.json is the same for any order with any repeats', () => {
    const rows = (events: MissionEnvelope[]) => events.flatMap((event) => rowOf(event) ?? []);
    fc.assert(
      fc.property(shuffled, ({ events, mixed }) => {
        const [a, b] = [events, mixed].map((all) => reduceRows('m', rows(all), 't'));
        expect(JSON.stringify(b)).toBe(JSON.stringify(a));
      }),
    );
  });

  test('at the same time a step back out of review beats a step forward', () => {
    const row = (event_id: string, from_lane: string, to_lane: string): StatusRow => ({
      event_id,
      mission_slug: 'm',
      wp_id: 'WP01',
      from_lane,
      to_lane,
      at: '2026-04-06T00:00:00Z',
      actor: 'a',
      force: false,
      execution_mode: 'worktree',
      reason: null,
      review_ref: null,
      evidence: null,
      policy_metadata: null,
    });
    const rows = [row('A', 'in_review', 'in_progress'), row('B', 'in_review', 'done')];
    expect(reduceRows('m', rows, 't').work_packages.WP01?.lane).toBe('in_progress');
  });
});

describe('the log file', () => {
  test('rows survive writing and reading, with sorted keys', () => {
    fc.assert(
      fc.property(log, (events) => {
        const rows = events.flatMap((event) => rowOf(event) ?? []);
        const text = rows.map(renderRow).join('');
        expect(parseLog(text)).toEqual({ rows, faults: [] });
        for (const line of text.split('\n').filter(Boolean)) {
          const keys = Object.keys(JSON.parse(line) as object);
          expect(keys).toEqual([...keys].sort());
        }
        expect(appendRows(text, rows)).toBe(text);
      }),
    );
  });

  test('a torn or foreign line hides no other', () => {
    const good =
      '{"event_id":"A","wp_id":"WP01","to_lane":"doing","at":"2026-04-06T00:00:00Z","actor":"a"}';
    const { rows, faults } = parseLog(`${good}\n[]\n{"event_id":"B"}\n{"event_i`);
    expect(rows.map(({ event_id }) => event_id)).toEqual(['A']);
    expect(faults.map(({ line }) => line)).toEqual([2, 3, 4]);
  });

  test('an import makes the same board as the file, once', () => {
    fc.assert(
      fc.property(log, (events) => {
        const rows = events.flatMap((event) => rowOf(event) ?? []);
        const imported = importRows(rows, initialState, (id) => id);
        const made = imported.map(
          ({ draft, eventId, at, lamport }): MissionEnvelope => ({
            ...(events[0] as MissionEnvelope),
            event_id: eventId,
            event_type: draft.type,
            timestamp: at,
            lamport_clock: lamport,
            payload: { ...BOARD.identity, ...draft.payload },
          }),
        );
        const state = fold(initialState, made);
        const reduced = reduceRows('m', rows, 't').work_packages;
        const lanes = [...state.wps].map(([id, { lane: at, actor: by }]) => [
          id,
          { lane: at, actor: by },
        ]);
        expect(Object.fromEntries(lanes)).toEqual(
          Object.fromEntries(
            Object.entries(reduced).map(([id, { lane: at, actor: by }]) => [
              id,
              { lane: at, actor: by },
            ]),
          ),
        );
        expect(importRows(rows, state, (id) => id)).toEqual([]);
      }),
    );
  });
});

describe('ids and clocks', () => {
  test('D.46 ids have one spelling; letters that ULIDs leave out are refused', () => {
    const uuid = '0190F5A2B3C47D8E9F00112233445566';
    expect(normaliseEventId(uuid)).toBe('0190f5a2-b3c4-7d8e-9f00-112233445566');
    expect(normaliseEventId('01j00000000000000000000abc')).toBe('01J00000000000000000000ABC');
    for (const letter of ['I', 'L', 'O', 'U']) {
      expect(normaliseEventId(`01J0000000000000000000000${letter}`)).toBeUndefined();
    }
    expect(normaliseEventId(' 01J00000000000000000000ABC')).toBeUndefined();
  });

  test('D.48 receiving 40 at 7, the next local event is at least 42', () => {
    expect(tick(receive(7, 40))).toBeGreaterThanOrEqual(42);
    for (const text of ['', '{', 'null', '{"value":-1}', '{"value":"9"}', '[]']) {
      expect(parseClock(text)).toBe(0);
    }
    expect(parseClock('{"value":41}')).toBe(41);
  });
});
