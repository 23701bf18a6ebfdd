import type { EventBatch, Recorded, Source } from '../types.ts';

/** A stream in memory that a test appends to, and that breaks where it is told to. */
export type Scripted<E extends Recorded> = {
  source: Source<E>;
  tail: () => Promise<number>;
  streamId: () => Promise<string>;
  push(...events: E[]): void;
  /** A message that is no event. */
  pushPoison(seq: number): void;
  /** Makes every open source throw. */
  breakAll(): void;
  /** Another stream from here on. */
  replace(id: string, events: E[]): void;
  /** Sources opened so far, by their first sequence. */
  readonly opened: number[];
};

type Item<E> = { seq: number; event?: E };

export function scripted<E extends Recorded>(
  initial: readonly E[] = [],
  batchSize: () => number = () => 100,
): Scripted<E> {
  let id = 'stream-1';
  let items: Item<E>[] = initial.map((event) => ({ seq: event.seq, event }));
  let generation = 0;
  let changed = Promise.withResolvers<void>();
  const opened: number[] = [];
  const notify = (): void => {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  };

  async function* source(fromSeq: number, signal: AbortSignal): AsyncGenerator<EventBatch<E>> {
    opened.push(fromSeq);
    const born = generation;
    let at = items.findIndex(({ seq }) => seq >= fromSeq);
    if (at < 0) at = items.length;
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (!signal.aborted) {
      if (generation !== born) throw new Error('the connection broke');
      const taken = items.slice(at, at + batchSize());
      if (taken.length === 0) {
        await Promise.race([changed.promise, aborted]);
        continue;
      }
      at += taken.length;
      yield batchOf(taken, items.length - at);
    }
  }

  return {
    source,
    opened,
    tail: async () => items.at(-1)?.seq ?? 0,
    streamId: async () => id,
    push(...events) {
      items = [...items, ...events.map((event) => ({ seq: event.seq, event }))];
      notify();
    },
    pushPoison(seq) {
      items = [...items, { seq }];
      notify();
    },
    breakAll() {
      generation += 1;
      notify();
    },
    replace(newId, events) {
      id = newId;
      items = events.map((event) => ({ seq: event.seq, event }));
      generation += 1;
      notify();
    },
  };
}

function batchOf<E extends Recorded>(taken: Item<E>[], pending: number): EventBatch<E> {
  return {
    events: taken.flatMap(({ event }) => event ?? []),
    poison: taken
      .filter(({ event }) => event === undefined)
      .map(({ seq }) => ({ seq, subject: 'led.v1.x', reason: 'not JSON', bytes: 3 })),
    lastSeq: taken.at(-1)?.seq ?? 0,
    pending,
  };
}
