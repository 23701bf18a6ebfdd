import { describe, expect, test } from 'vitest';
import { eventScript, when } from '#libs/testing';
import type { EventDraft } from '#libs/orders';
import {
  evolveGarrison,
  expectedOf,
  type GarrisonState,
  NO_GARRISON,
  type Probe,
  tellEdges,
  tellTick,
  type Tick,
} from './garrison.ts';

const about = { garrisonId: 'g', periodMs: 30_000, roles: ['vault'] as const };
const tick = (cause: string): Tick => ({ cause, source: 'timer' });

function garrison() {
  const script = eventScript({ theater_id: null, run_id: null });
  let state: GarrisonState = NO_GARRISON;
  return {
    get state() {
      return state;
    },
    take(drafts: EventDraft[]) {
      state = evolveGarrison(state, script.append(...drafts));
    },
  };
}

describe('ticks', () => {
  test('one for each cause, however many instances tell it', () => {
    const one = garrison();
    const tell = (cause: string) => (state: GarrisonState) => tellTick(state, tick(cause), about);
    one.take(when(one.state, tell('timer/1')).thenEvents('PATROL_TICK'));
    when(one.state, tell('timer/1')).thenNothing();
    one.take(when(one.state, tell('timer/2')).thenEvents('PATROL_TICK'));
    when(one.state, tell('timer/1')).thenNothing();
    when(one.state, tell('timer/3')).thenEvents('PATROL_TICK');
  });

  test('tell which roles have answered; those are missed from then on, and so are the configured', () => {
    const one = garrison();
    expect(expectedOf(one.state, [])).toEqual(new Set());
    one.take(when(one.state, (s) => tellTick(s, tick('a'), about)).thenEvents('PATROL_TICK'));
    expect(expectedOf(one.state, ['worker'])).toEqual(new Set(['worker', 'vault']));
  });

  test('are remembered in a bounded number', () => {
    const one = garrison();
    for (let i = 0; i < 200; i += 1) {
      const told = tellTick(one.state, tick(`t/${i}`), about);
      if (told.ok) one.take(told.events);
    }
    expect(one.state.ticks).toHaveLength(64);
  });
});

test('8.49 only the services that have changed are told of', () => {
  const one = garrison();
  const probe = (service: 'vault' | 'observer', healthy: boolean): Probe => {
    return { service, healthy, reason: 'probe' };
  };
  const tell =
    (...probes: Probe[]) =>
    (state: GarrisonState) =>
      tellEdges(state, probes, 'g');
  when(one.state, tell(probe('vault', true), probe('observer', true))).thenNothing();
  const down = tell(probe('vault', false), probe('observer', true));
  one.take(when(one.state, down).thenEvents('SERVICE_DEGRADED'));
  when(one.state, down).thenNothing();
  const swapped = tell(probe('vault', true), probe('observer', false));
  one.take(when(one.state, swapped).thenEvents('SERVICE_RECOVERED', 'SERVICE_DEGRADED'));
  when(one.state, swapped).thenNothing();
});

test('a hostile service name is only a name', () => {
  const script = eventScript({ theater_id: null, run_id: null });
  script.add('SERVICE_DEGRADED', { service: '__proto__' });
  script.add('SERVICE_DEGRADED', { service: 'constructor' });
  const state = evolveGarrison(NO_GARRISON, script.events);
  expect(Object.keys(state.services)).toContain('constructor');
  expect(Object.getPrototypeOf(state.services)).toBe(Object.prototype);
});
