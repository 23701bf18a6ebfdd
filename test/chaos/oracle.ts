import type { Chat } from './schedule.ts';
import type { DeliveryWay, SignedEnvelope } from './signed.ts';

/** An event as it was sent, with everything that the ledger could have made up itself. */
export type SentEvent = {
  event_id: string;
  ts: string;
  type: string;
  garrison_id: string;
  theater_id: string;
  run_id: string | null;
  order_id: string | null;
  unit_id: null;
  payload: Record<string, unknown>;
};

/** What the ledger answered for an event. */
export type Ack = { seq: number; duplicate: boolean };

/** A signed milestone, and what its sender was told. */
export type SentDelivery = {
  envelope: SignedEnvelope;
  way: DeliveryWay;
  /** Its signature is wrong, so nothing of it may reach the feed. */
  forged: boolean;
  /** One for each copy: `queued`, or the status and word that were answered. */
  answers: string[];
};

/** What clients sent and were told: nothing of it may be missing or other than told. */
export type Oracle = {
  /** By request id; `acks` are the run ids that were answered. */
  chats: Map<string, { chat: Chat; acks: string[]; refusals: string[] }>;
  /** By event id. */
  appends: Map<string, { event: SentEvent; acks: Ack[]; refusals: string[] }>;
  /** Published to the intake; `event` is null where the bytes are none. */
  queued: Map<string, { event: SentEvent | null; acks: number }>;
  /** By idempotency key. */
  deliveries: Map<string, SentDelivery>;
  /** Answered with ok. */
  cancelled: Set<string>;
};

export function newOracle(): Oracle {
  return {
    chats: new Map(),
    appends: new Map(),
    queued: new Map(),
    deliveries: new Map(),
    cancelled: new Set(),
  };
}

/** The theater of events that are told from outside; no theater is opened under this name. */
export const RAW_THEATER = 'raw';

/** One fact, or the three of a run that begins and ends; all legal, and ended with the last. */
export function rawEvents(kind: 'event' | 'batch', id: string, garrison: string): SentEvent[] {
  const base = { ts: new Date().toISOString(), garrison_id: garrison, theater_id: RAW_THEATER };
  const make = (
    type: string,
    place: { run_id: string | null; order_id: string | null },
    payload: Record<string, unknown>,
  ): SentEvent => ({ event_id: `${id}_${type}`, ...base, type, unit_id: null, ...place, payload });
  if (kind === 'event') {
    const place = { run_id: null, order_id: id };
    return [make('ORDER_CANCELLED', place, { reason: `told from outside, ${id}` })];
  }
  const place = { run_id: id, order_id: null };
  return [
    make('RUN_CREATED', place, { objective: `From outside: ${id}` }),
    make('RUN_UPDATED', place, { metadata: { id } }),
    make('RUN_CANCELLED', place, { reason: 'told from outside' }),
  ];
}
