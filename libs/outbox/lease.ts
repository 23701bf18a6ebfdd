import { type Broker, callBroker, toTtl } from '#libs/broker';
import { JetStreamApiError } from '@nats-io/jetstream';
import { LEASES } from '#streams';

/**
 * The right to do something alone for a while. It is for order and economy, not for safety: a
 * holder that was paused longer than its lease may act beside the next one.
 */
export type Lease = {
  /** Takes it, or keeps it; false: another has it. @throws {DEPENDENCY_UNAVAILABLE} */
  hold(): Promise<boolean>;
  /** Gives it back, so that the next need not wait for its end. */
  release(): Promise<void>;
};

export type LeaseOptions = {
  /** Ids: what kind of thing, and which. */
  kind: string;
  id: string;
  holder: string;
  /** Without a renewal it ends after so long, by the server's clock; at least 1 000. */
  ttlMs: number;
  /** Milliseconds, monotonic. */
  clock: () => number;
};

const WRONG_LAST_SEQUENCE = new Set([10071, 10164]);

export function createLease(broker: Broker, options: LeaseOptions): Lease {
  const subject = `lease.v1.${options.kind}.${options.id}`;
  const { ttlMs, clock } = options;
  let held: { seq: number; renewAtMs: number } | undefined;

  const publish = async (lastSeq: number): Promise<boolean> => {
    const startMs = clock();
    try {
      const { seq } = await callBroker(broker, () =>
        broker.js.publish(subject, options.holder, {
          expect: { streamName: LEASES.name, lastSubjectSequence: lastSeq },
          ttl: toTtl(ttlMs),
        }),
      );
      held = { seq, renewAtMs: startMs + ttlMs / 3 };
      return true;
    } catch (error) {
      if (!(error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.has(error.code))) throw error;
      held = undefined;
      return false;
    }
  };

  return {
    async hold() {
      if (held !== undefined) {
        if (clock() < held.renewAtMs) return true;
        if (await publish(held.seq)) return true;
      }
      return publish(0);
    },
    async release() {
      if (held === undefined) return;
      const { seq } = held;
      held = undefined;
      await callBroker(broker, () => broker.jsm.streams.deleteMessage(LEASES.name, seq));
    },
  };
}
