import { type Consuming, consumeTimers, scheduleTimer } from '#libs/broker';
import { API, AppError, type StoredEvent } from '#libs/contracts';
import { createAggregateStore, ledgerSubject, ledgerTail, type Place } from '#libs/eventlog';
import {
  ackRaised,
  type Decision,
  type DecisionWord,
  evolveRaised,
  giveDecision,
  type RaisedEscalation,
} from '#libs/orders';
import { command, type RoleContext } from '#libs/runtime';
import { z } from 'zod';

type Book = ReadonlyMap<string, RaisedEscalation>;
type Person = { escalation_id: string; by: string; note?: string | undefined };

/** Escalations of one subject that are held; the oldest goes first. */
const BOOK_MAX = 10_000;
const KIND = 'decision';

const timerPayload = z.object({
  theater_id: z.string().nullable(),
  run_id: z.string().nullable(),
  order_id: z.string().nullable(),
  seq: z.int(),
});

/** What people say to escalations, and what happens where they say nothing in time. */
export function createEscalations(context: RoleContext) {
  const { broker, log, client, logger } = context;
  const store = createAggregateStore<Book>(broker, new Map(), foldBook);

  const decide = async (
    place: Place,
    id: string,
    decision: (raised: RaisedEscalation) => Decision,
    minSeq?: number,
  ): Promise<void> => {
    const found = ({ state }: { state: Book }): Decision => {
      const raised = state.get(id);
      if (raised === undefined) throw notFound(id);
      return decision(raised);
    };
    await command(log, store, ledgerSubject(place), found, minSeq);
  };

  /** Where an escalation was raised. @throws {ESCALATION_NOT_FOUND} */
  const locate = async (id: string): Promise<{ place: Place; seq: number }> => {
    const at_least = await ledgerTail(broker);
    const { escalations } = await client.call(API.ledger.escalations, {
      escalation_id: id,
      limit: 1,
      at_least,
    });
    const [found] = escalations;
    if (found === undefined) throw notFound(id);
    const { theater_id, run_id, order_id, seq } = found;
    return { place: { garrison_id: log.garrisonId, theater_id, run_id, order_id }, seq };
  };

  const give = async ({ escalation_id, by, note }: Person, decision: DecisionWord) => {
    const { place, seq } = await locate(escalation_id);
    const nowMs = log.defaults.now().getTime();
    const given = { decision, by, note, nowMs };
    await decide(place, escalation_id, (raised) => giveDecision(raised, given), seq);
    return { escalation_id, decision };
  };

  return {
    ack: async ({ escalation_id, by, note }: Person) => {
      const { place, seq } = await locate(escalation_id);
      await decide(place, escalation_id, (raised) => ackRaised(raised, { by, note }), seq);
      return { escalation_id, acked: true };
    },
    approve: (person: Person) => give(person, 'approve'),
    deny: (person: Person) => give(person, 'deny'),

    /** Sets the timer of an escalation that asks for a decision; again replaces it by the same. */
    watch: async (event: StoredEvent): Promise<void> => {
      if (event.type !== 'ESCALATION_RAISED' || event.payload.decision_by === undefined) return;
      const { theater_id, run_id, order_id, seq, payload, event_id } = event;
      await scheduleTimer(broker, {
        kind: KIND,
        id: payload.escalation_id ?? event_id,
        at: new Date(payload.decision_by as string),
        payload: { theater_id, run_id, order_id, seq },
      });
    },

    /** Decides `timeout` as the timers fire, until stopped. */
    consume: (): Consuming =>
      consumeTimers(broker, {
        durable: 'co-decisions',
        kinds: [KIND],
        logger,
        handle: async ({ id, payload }) => {
          const { seq, ...ids } = timerPayload.parse(payload);
          const place = { garrison_id: log.garrisonId, ...ids };
          const nowMs = log.defaults.now().getTime();
          const given = { decision: 'timeout', by: 'timer', nowMs } as const;
          await decide(place, id, (raised) => giveDecision(raised, given), seq);
        },
      }),
  };
}

function notFound(id: string): AppError {
  return new AppError('ESCALATION_NOT_FOUND', { id }, { field: 'escalation_id' });
}

function foldBook(book: Book, events: readonly StoredEvent[]): Book {
  let next: Map<string, RaisedEscalation> | undefined;
  for (const event of events) {
    const id = escalationIdOf(event);
    if (id === undefined) continue;
    next ??= new Map(book);
    const raised = evolveRaised(next.get(id), event, id);
    if (raised !== undefined) next.set(id, raised);
    if (next.size > BOOK_MAX) next.delete(next.keys().next().value as string);
  }
  return next ?? book;
}

function escalationIdOf(event: StoredEvent): string | undefined {
  switch (event.type) {
    case 'ESCALATION_RAISED':
      return event.payload.escalation_id ?? event.event_id;
    case 'ESCALATION_ACKED':
    case 'DECISION_GIVEN':
      return event.payload.escalation_id;
    default:
      return undefined;
  }
}
