import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { AppError, type StoredEvent } from '#libs/contracts';
import { readVersions } from './read.ts';

/** A fold of the events that one filter matches, and how far it has read. */
export type Loaded<S> = {
  readonly state: S;
  /** Sequence of the last event in the fold, 0 if there is none. */
  readonly seq: number;
  /** What an append to this subject must expect: the sequence of its last event, 0 if none. */
  versionOf(subject: string): number;
};

export type AggregateStore<S> = {
  /**
   * The current state of the aggregate whose subjects `filter` matches.
   * @param minSeq an event known to be in it; a replica that has not got that far is asked again
   */
  load(filter: string, minSeq?: number): Promise<Loaded<S>>;
};

type Entry<S> = { state: S; seq: number; versions: Map<string, number> };

const STALE_RETRIES = 40;
const STALE_WAIT_MS = 25;

/**
 * Loads aggregates by folding their events, and keeps the most recently used `capacity` of them, so
 * that the next load reads only what is new.
 */
export function createAggregateStore<S>(
  broker: Broker,
  initial: S,
  fold: (state: S, events: readonly StoredEvent[]) => S,
  capacity = 500,
): AggregateStore<S> {
  const cache = new Map<string, Entry<S>>();

  const refresh = async (filter: string): Promise<Entry<S>> => {
    const known = cache.get(filter);
    let state = known?.state ?? initial;
    let seq = known?.seq ?? 0;
    const versions = new Map(known?.versions);
    for await (const page of readVersions(broker, filter, seq + 1)) {
      if (page.events.length > 0) state = fold(state, page.events);
      for (const [subject, version] of page.versions) versions.set(subject, version);
      seq = page.lastSeq;
    }
    const entry = { state, seq, versions };
    // Two loads at once may both have read; the one that got further stays.
    const other = cache.get(filter);
    const newest = other !== undefined && other.seq > seq ? other : entry;
    cache.delete(filter);
    cache.set(filter, newest);
    if (cache.size > capacity) cache.delete(cache.keys().next().value as string);
    return newest;
  };

  return {
    load: async (filter, minSeq = 0) => {
      for (let round = 0; ; round += 1) {
        const { state, seq, versions } = await refresh(filter);
        if (seq >= minSeq) {
          return { state, seq, versionOf: (subject) => versions.get(subject) ?? 0 };
        }
        if (round === STALE_RETRIES) {
          throw new AppError('VIEW_BEHIND', { at: seq, wanted: minSeq });
        }
        await sleep(STALE_WAIT_MS);
      }
    },
  };
}
