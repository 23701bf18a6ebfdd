import { setTimeout as sleep } from 'node:timers/promises';
import { type EventType, isAppError } from '#libs/contracts';
import { decodeEvent, ledgerSubject } from '#libs/eventlog';
import { cancelOrder } from '#libs/orders';
import type { Attempt, AttemptTools } from './attempt.ts';

/** Why a unit was stopped: its order was cancelled, reissued or ended by somebody else. */
export class OrderGone extends Error {}

const ENDS: readonly EventType[] = [
  'ORDER_CANCELLED',
  'ORDER_REISSUED',
  'ORDER_FAILED',
  'ORDER_COMPLETED',
];
const RUN_ENDS: readonly EventType[] = ['RUN_CANCELLED', 'RUN_FAILED', 'RUN_COMPLETED'];
/** An event is heard a moment before it is stored. */
const LOOKS_MS = [0, 50, 150, 400];
/** As the commanding officer says it, so that both together tell it once. */
const RUN_ENDED = 'the run has ended';

export type Watch = {
  /** Aborted, with `OrderGone`, when the order is no longer this unit's. */
  signal: AbortSignal;
  /** Looks at once, for connections on which nothing is heard. */
  look: () => Promise<void>;
  stop: () => void;
};

/** Follows an order while a unit is at work on it. What is heard is a hint; the ledger decides. */
export function watchOrder(tools: AttemptTools, attempt: Attempt): Watch {
  const { book, context } = tools;
  const { job, unitId, runId } = attempt;
  const gone = new AbortController();
  let stopped = false;

  const look = async (): Promise<void> => {
    const { order } = await book.load(job, attempt.startedSeq);
    const { status, attempt: current, unit_id } = order;
    const ours = current === attempt.attempt && unit_id === unitId;
    if (stopped || (ours && (status === 'CLAIMED' || status === 'RUNNING'))) return;
    gone.abort(new OrderGone(`the order is ${status} in attempt ${current}`));
  };
  const lookAgain = async (): Promise<void> => {
    for (const waitMs of LOOKS_MS) {
      await sleep(waitMs);
      if (stopped || gone.signal.aborted) return;
      await look();
    }
  };
  const heard = async (type: EventType): Promise<void> => {
    try {
      if (RUN_ENDS.includes(type))
        await book.decide(job, (o) => cancelOrder(o, { reason: RUN_ENDED }));
      if (RUN_ENDS.includes(type) || ENDS.includes(type)) await lookAgain();
    } catch (error) {
      if (!isAppError(error)) throw error;
      context.logger.warn(
        { err: error, order_id: job.order_id },
        'the order could not be looked at',
      );
    }
  };

  const place = { garrison_id: context.log.garrisonId, theater_id: job.theater_id, run_id: runId };
  const subjects = [
    ledgerSubject({ ...place, order_id: job.order_id }),
    ...(runId === null ? [] : [ledgerSubject(place)]),
  ];
  const { nc } = context.log.broker;
  const subscriptions = subjects.map((subject) =>
    nc.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) return;
        const decoded = decodeEvent(message.data, 1, subject);
        if (decoded.ok) void heard(decoded.event.type);
      },
    }),
  );
  return {
    signal: gone.signal,
    look,
    stop: () => {
      stopped = true;
      if (!nc.isClosed()) for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
}
