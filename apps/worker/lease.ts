import type { Broker } from '#libs/broker';

/** One job as it was handed to this process. */
export type Delivery = {
  /** Sequence in the stream; the same for every delivery of one job. */
  seq: number;
  subject: string;
  data: Uint8Array;
  /** How often it was delivered, this time included. */
  deliveries: number;
  /** The job is done with; it leaves the queue. */
  ack(): void;
  /** Hands it back, to be delivered again after `delayMs`. */
  nak(delayMs: number): void;
  /** It is poison and leaves the queue. */
  term(reason: string): void;
  /** Renews the lease; rejects unless the broker confirms it within `timeoutMs`. */
  working(timeoutMs: number): Promise<void>;
};

/** Where a delivery is answered: `$JS.ACK.…`, in the form of servers now and of those to come. */
function parseReply(reply: string): { seq: number; deliveries: number } | undefined {
  const tokens = reply.split('.');
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK') return undefined;
  const [deliveries, seq] = tokens.length === 9 ? tokens.slice(4, 6) : tokens.slice(6, 8);
  return { seq: Number(seq), deliveries: Number(deliveries) };
}

/** A message of a pull as a delivery; undefined if it is none (as the notice that nothing waits). */
export function toDelivery(
  broker: Broker,
  message: { subject: string; data: Uint8Array; reply?: string },
): Delivery | undefined {
  const { reply = '', subject, data } = message;
  const parsed = parseReply(reply);
  if (parsed === undefined) return undefined;
  const { nc } = broker;
  return {
    ...parsed,
    subject,
    data,
    ack: () => nc.publish(reply, '+ACK'),
    nak: (delayMs) => nc.publish(reply, `-NAK ${JSON.stringify({ delay: delayMs * 1_000_000 })}`),
    term: (reason) => nc.publish(reply, `+TERM ${reason.replace(/\s+/g, ' ').slice(0, 200)}`),
    working: async (timeoutMs) => {
      await nc.request(reply, '+WPI', { timeout: timeoutMs });
    },
  };
}

/** A unit's right to an order while it is at work. */
export type Lease = {
  /** Aborted, with `LeaseLost`, when the broker has confirmed nothing for the length of the lease. */
  readonly signal: AbortSignal;
  /** The delivery to answer at the end. */
  delivery(): Delivery;
  /** Goes on under a newer delivery of the same job. */
  adopt(delivery: Delivery): void;
  end(): void;
};

/** Why a lease's signal was aborted: another worker may have the job by now. */
export class LeaseLost extends Error {}

/** Renews the lease of a delivery, three times in its length, until it ends or is lost. */
export function holdLease(first: Delivery, leaseMs: number): Lease {
  const lost = new AbortController();
  const beatMs = Math.ceil(leaseMs / 3);
  let current = first;
  let confirmedAt = performance.now();
  const check = () => {
    const silentMs = performance.now() - confirmedAt;
    if (silentMs <= leaseMs) return;
    clearInterval(timer);
    lost.abort(new LeaseLost(`not renewed for ${Math.round(silentMs)} ms`));
  };
  const beat = () => {
    check();
    if (lost.signal.aborted) return;
    const sentAt = performance.now();
    current.working(beatMs).then(() => {
      confirmedAt = Math.max(confirmedAt, sentAt);
    }, check);
  };
  const timer = setInterval(beat, beatMs);
  return {
    signal: lost.signal,
    delivery: () => current,
    adopt: (delivery) => {
      current = delivery;
      confirmedAt = performance.now();
    },
    end: () => clearInterval(timer),
  };
}
