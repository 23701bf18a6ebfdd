import assert from 'node:assert/strict';
import {
  type ErrorCode,
  EVENT_TYPES,
  type EventType,
  type PayloadOf,
  type StoredEvent,
} from '#libs/contracts';
import { type Decision, type EventDraft, eventIdFor, toEvent } from '#libs/orders';

type Place = Partial<
  Pick<StoredEvent, 'theater_id' | 'run_id' | 'order_id' | 'unit_id' | 'event_id' | 'ts'>
>;

const START_MS = Date.UTC(2026, 0, 14, 16, 0, 0);

/** A made-up ledger: events are numbered from 1, a second apart; their ids follow from that. */
export type EventScript = {
  /** Adds an event of the script's run and order, or of where `place` says. */
  add<T extends EventType>(type: T, payload?: PayloadOf<T>, place?: Place): StoredEvent;
  /** Adds what a decision leads to; throws where a payload is not of its type's shape. */
  append(...drafts: EventDraft[]): StoredEvent[];
  readonly events: readonly StoredEvent[];
};

/** Starts a script; events without a place of their own are of garrison g, theater demo, run r1. */
export function eventScript(defaults: Place = {}): EventScript {
  const events: StoredEvent[] = [];
  const stamp = () => {
    const seq = events.length + 1;
    return { seq, ts: new Date(START_MS + seq * 1_000).toISOString() };
  };
  const push = (event: StoredEvent): StoredEvent => {
    events.push(event);
    return event;
  };
  return {
    events,
    add: (type, payload, place) => {
      const { seq, ts } = stamp();
      const ofOrder = (EVENT_TYPES[type].needs as readonly string[]).includes('order_id');
      const event_id = `e${seq}`;
      const order_id = ofOrder ? (defaults.order_id ?? 'o1') : null;
      const base = { event_id, ts, garrison_id: 'g', theater_id: 'demo', run_id: 'r1' };
      const ids = { ...base, unit_id: null, ...defaults, order_id, ...place };
      return push({ ...ids, seq, type, payload: payload ?? {} } as StoredEvent);
    },
    append: (...drafts) =>
      drafts.map((draft) => {
        EVENT_TYPES[draft.type].payload.parse(draft.payload);
        const { seq, ts } = stamp();
        const event_id = eventIdFor(draft.garrison_id, draft.key);
        return push({ ...toEvent(draft, { event_id, ts }), seq } as StoredEvent);
      }),
  };
}

/** What a decision is expected to be. */
export type Verdict = {
  /** It leads to exactly these types, in this order; answers the drafts for a closer look. */
  thenEvents(...types: EventType[]): EventDraft[];
  /** It is done already: no events, no refusal. */
  thenNothing(): void;
  /** It is refused with this code. */
  thenRefused(code: ErrorCode): void;
};

/** Given a state, when a command, then these events: how deciders are tested. */
export function when<S>(state: S, decide: (state: S) => Decision): Verdict {
  const decision = decide(state);
  const drafts = (): EventDraft[] => {
    if (!decision.ok) assert.fail(`refused: ${decision.error.code} ${decision.error.message}`);
    return decision.events;
  };
  const thenEvents = (...types: EventType[]): EventDraft[] => {
    const made = drafts();
    assert.deepEqual(
      made.map(({ type }) => type),
      types,
    );
    return made;
  };
  return {
    thenEvents,
    thenNothing: () => {
      thenEvents();
    },
    thenRefused: (code) => {
      if (decision.ok)
        assert.fail(`not refused: ${decision.events.map(({ type }) => type).join()}`);
      assert.equal(decision.error.code, code);
    },
  };
}
