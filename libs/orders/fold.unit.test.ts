import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { StoredEvent } from '#libs/contracts';
import { arbitraryLedger, eventScript } from '#libs/testing';
import {
  anomalyOf,
  EMPTY_RUN,
  evolveOrder,
  evolveRun,
  evolveRunAggregate,
  evolveService,
  evolveTheater,
  foldRun,
  isTerminal,
  type OrderState,
  runAnomalyOf,
  type RunState,
  type ServiceState,
  type TheaterState,
} from './mod.ts';

const orderSteps = (events: readonly StoredEvent[]): (OrderState | undefined)[] => {
  const states: (OrderState | undefined)[] = [undefined];
  for (const event of events.filter(({ order_id }) => order_id === 'o1')) {
    states.push(evolveOrder(states.at(-1), event));
  }
  return states;
};
/** Freezes what was folded so far: a fold that wrote into an older state would throw. */
const frozen = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) frozen(part);
  }
  return value;
};

describe('any events in any order', () => {
  test('never throw and never change an older state', () => {
    fc.assert(
      fc.property(arbitraryLedger(), (events) => {
        let order: OrderState | undefined;
        let run: RunState | undefined;
        let theater: TheaterState | undefined;
        let service: ServiceState | undefined;
        for (const event of events) {
          order = frozen(evolveOrder(order, frozen(event)));
          run = frozen(evolveRun(run, event));
          theater = frozen(evolveTheater(theater, event));
          service = frozen(evolveService(service, event));
        }
        expect(run?.version ?? 0).toBeLessThanOrEqual(events.at(-1)?.seq ?? 0);
      }),
    );
  });

  test('terminal orders change only by a reissue; CANCELLED by nothing', () => {
    fc.assert(
      fc.property(arbitraryLedger(), (events) => {
        const own = events.filter(({ order_id }) => order_id === 'o1');
        const states = orderSteps(own);
        const moves = own.flatMap(({ type }, index) => {
          const from = states[index]?.status ?? 'QUEUED';
          const to = states[index + 1]?.status;
          return isTerminal(from) && to !== from ? [`${from} ${type} ${to}`] : [];
        });
        const legal = ['COMPLETED ORDER_REISSUED QUEUED', 'FAILED ORDER_REISSUED QUEUED'];
        expect(moves.filter((move) => !legal.includes(move))).toEqual([]);
      }),
    );
  });

  test('an ended run stays as it ended', () => {
    fc.assert(
      fc.property(arbitraryLedger(), (events) => {
        let run: RunState | undefined;
        for (const event of events) {
          const next = evolveRun(run, event);
          const ended = run === undefined || run.status === 'OPEN' ? next : run;
          expect([next.status, next.ended_at]).toEqual([ended.status, ended.ended_at]);
          run = next;
        }
      }),
    );
  });

  test('attempts never decrease; an anomaly is counted exactly when it is told', () => {
    fc.assert(
      fc.property(arbitraryLedger(), (events) => {
        let state: OrderState | undefined;
        for (const event of events.filter(({ order_id }) => order_id === 'o1')) {
          const told = anomalyOf(state, event);
          const next = evolveOrder(state, event);
          expect(next.attempt).toBeGreaterThanOrEqual(state?.attempt ?? 1);
          const counted = next.anomalies - (state?.anomalies ?? 0);
          expect(counted).toBe(told === null || told.kind === 'duplicate_event' ? 0 : 1);
          const kept = counted === 0 || state === undefined ? next : state;
          expect([next.status, next.attempt]).toEqual([kept.status, kept.attempt]);
          state = next;
        }
      }),
    );
  });

  test('a run counts an anomaly exactly when it is told', () => {
    fc.assert(
      fc.property(arbitraryLedger(), (events) => {
        let state: RunState | undefined;
        for (const event of events.filter(({ run_id }) => run_id === 'r1')) {
          const told = runAnomalyOf(state, event);
          const next = evolveRun(state, event);
          const counted = next.anomalies - (state?.anomalies ?? 0);
          expect(counted).toBe(told === null || told.kind === 'duplicate_event' ? 0 : 1);
          state = next;
        }
      }),
    );
  });

  test('one by one, all at once, and in two parts give the same aggregate', () => {
    fc.assert(
      fc.property(arbitraryLedger(), fc.nat(40), (events, at) => {
        const own = events.filter(({ run_id }) => run_id === 'r1');
        const whole = foldRun(own);
        expect(own.reduce(evolveRunAggregate, EMPTY_RUN)).toEqual(whole);
        expect(foldRun(own.slice(at), foldRun(own.slice(0, at)))).toEqual(whole);
        // A state that went through a store and back folds on as if it had never left.
        const stored = orderSteps(own.slice(0, at)).at(-1);
        const back = stored && (JSON.parse(JSON.stringify(stored)) as OrderState);
        const rest = own.slice(at).filter(({ order_id }) => order_id === 'o1');
        expect(rest.reduce<OrderState | undefined>(evolveOrder, back)).toEqual(
          rest.reduce<OrderState | undefined>(evolveOrder, stored),
        );
      }),
    );
  });

  test('events that are delivered again change nothing', () => {
    fc.assert(
      fc.property(arbitraryLedger(), fc.nat(40), (events, at) => {
        const twice = [...events, ...events.slice(at)];
        expect(foldRun(twice)).toEqual(foldRun(events));
        const stuttered = events.flatMap((event) => [event, event]);
        expect(foldRun(stuttered)).toEqual(foldRun(events));
        expect(orderSteps(twice).at(-1)).toEqual(orderSteps(events).at(-1));
      }),
    );
  });
});

test('an aggregate leaves out events of other runs', () => {
  const script = eventScript();
  script.add('RUN_CREATED');
  script.add('ORDER_CREATED', {}, { run_id: 'r2' });
  expect(foldRun(script.events).orders.size).toBe(0);
});
