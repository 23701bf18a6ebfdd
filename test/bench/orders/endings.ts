import type { Broker } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import { followBatches } from '#libs/eventlog';

/** Waits for what the ledger tells to have ended. */
export type Endings = {
  /** Resolves when `id` has ended well; rejects when it failed. */
  of(id: string): Promise<void>;
  close(): void;
};

/** @param endOf the id that an event ends, and whether well; undefined: it ends none */
export function followEndings(
  broker: Broker,
  fromSeq: number,
  endOf: (event: StoredEvent) => { id: string | null; ok: boolean } | undefined,
): Endings {
  const stop = new AbortController();
  const waiting = new Map<string, PromiseWithResolvers<void>>();
  const entry = (id: string): PromiseWithResolvers<void> => {
    const known = waiting.get(id) ?? Promise.withResolvers<void>();
    waiting.set(id, known);
    return known;
  };
  const follow = async (): Promise<void> => {
    for await (const { events } of followBatches(broker, { fromSeq, signal: stop.signal })) {
      for (const event of events) {
        const end = endOf(event);
        if (end?.id == null) continue;
        if (end.ok) entry(end.id).resolve();
        else entry(end.id).reject(new Error(`${event.type}: ${JSON.stringify(event.payload)}`));
      }
    }
  };
  void follow();
  return { of: (id) => entry(id).promise, close: () => stop.abort() };
}
