import { randomUUID } from 'node:crypto';
import type { Broker } from '#libs/broker';
import type { Channel, IngestAnswer } from '#libs/contracts';
import type { Publisher } from '#libs/eventlog';
import { type Delivery, idOf, receive, type ReceiveRules, type Rejection } from '#libs/feeds';
import { DEAD, FEEDS } from '#streams';
import type { Rejections } from './rejections.ts';
import { storeOnce } from './store.ts';

/** Where a delivery came from; `stream` is empty for what was not queued. */
export type Source = { stream: string; seq: number; subject: string };

/** The answer, and where the delivery lies now. */
export type Outcome = {
  status: number;
  answer: IngestAnswer;
  place?: { stream: string; seq: number; duplicate: boolean };
};

export type Receiver = {
  /**
   * Takes one delivery, by whichever way it came.
   * @throws {DEPENDENCY_UNAVAILABLE} not stored, or not known to be; sending again is safe
   */
  take(given: Omit<Delivery, 'attemptId'>, source: Source): Promise<Outcome>;
  /** As `take`, for what an operator sends again: its time is not looked at, no letter is written. */
  again(given: Omit<Delivery, 'attemptId'>): Promise<Outcome>;
  /** Sequence of the newest item that this process has stored; 0: none. */
  lastSeq(): number;
};

export type ReceiverParts = {
  broker: Broker;
  publisher: Publisher;
  rules: ReceiveRules;
  rejections: Rejections;
};

/** The one path of deliveries over HTTP, over NATS and from the queue. */
export function createReceiver({ broker, publisher, rules, rejections }: ReceiverParts): Receiver {
  let last = 0;

  const store = async (delivery: Delivery, own: ReceiveRules): Promise<Outcome | Rejection> => {
    const received = receive(delivery, own);
    if (!received.ok) return received;
    const { entry } = received;
    const stored = await storeOnce(broker, publisher, entry);
    if (stored.outcome === 'accepted') {
      last = Math.max(last, stored.seq);
      const place = { stream: FEEDS.name, seq: stored.seq, duplicate: false };
      return { status: 200, answer: answerOf('accepted', entry.channel, idOf(entry)), place };
    }
    const { before } = stored;
    if (stored.outcome === 'conflict') {
      const reason = `idempotencyKey was used before for another body (${idOf(before)})`;
      return { ok: false, status: 409, reasonClass: 'conflict', reason, key: entry.key };
    }
    const place = { stream: FEEDS.name, seq: before.seq, duplicate: true };
    return { status: 200, answer: answerOf('duplicate', before.channel, idOf(before)), place };
  };

  return {
    lastSeq: () => last,
    async take(given, source) {
      const delivery = { ...given, attemptId: randomUUID() };
      const outcome = await store(delivery, rules);
      if (!('ok' in outcome)) return outcome;
      const seq = await rejections.record(delivery, outcome, source);
      const place =
        seq === undefined ? {} : { place: { stream: DEAD.name, seq, duplicate: false } };
      return { ...refusal(outcome), ...place };
    },
    async again(given) {
      const outcome = await store(
        { ...given, attemptId: randomUUID() },
        { ...rules, redriven: true },
      );
      return 'ok' in outcome ? refusal(outcome) : outcome;
    },
  };
}

function refusal({ status, reason }: Rejection): Outcome {
  return { status, answer: { ok: false, status: 'rejected', reason } };
}

function answerOf(status: 'accepted' | 'duplicate', channel: Channel, id: string): IngestAnswer {
  return channel === 'milestones'
    ? { ok: true, status, milestoneId: id }
    : { ok: true, status, summaryId: id };
}
