import { setTimeout as sleep } from 'node:timers/promises';
import { type AnyEvent, isAppError } from '#libs/contracts';
import {
  type AggregateStore,
  type Appended,
  type BatchEntry,
  type EventLog,
  ledgerSubject,
  type Loaded,
} from '#libs/eventlog';
import { type Decision, type EventDraft, eventIdFor, toEvent } from '#libs/orders';

const TRIES = 30;
const WAIT_MS_MAX = 50;

/** What a command did: the state it was decided on and the events it led to (none: done before). */
export type Commanded<S> = {
  loaded: Loaded<S>;
  drafts: readonly EventDraft[];
  appended: Appended[];
};

/**
 * Loads an aggregate, decides, and appends all events of the decision or none, on condition that
 * nothing was written to their subjects since. If somebody was faster it decides anew.
 * @param decide pure; may run several times
 * @throws the error of a refused decision · {VERSION_CONFLICT} after many races · {DEPENDENCY_UNAVAILABLE}
 */
export async function command<S>(
  log: EventLog,
  store: AggregateStore<S>,
  filter: string,
  decide: (loaded: Loaded<S>) => Decision,
  minSeq = 0,
): Promise<Commanded<S>> {
  let known = minSeq;
  for (let round = 1; ; round += 1) {
    const loaded = await store.load(filter, known);
    const decision = decide(loaded);
    if (!decision.ok) throw decision.error;
    const drafts = decision.events;
    if (drafts.length === 0) return { loaded, drafts, appended: [] };
    try {
      const appended = await log.appendBatch(toEntries(log, drafts, loaded));
      return { loaded, drafts, appended };
    } catch (error) {
      const newer = newerSeq(error, loaded.seq);
      if (newer === undefined || round === TRIES) throw error;
      known = Math.max(known, newer);
      await sleep(Math.random() * WAIT_MS_MAX);
    }
  }
}

/** The event that made an append fail though it was decided well; undefined: it is no race. */
function newerSeq(error: unknown, loadedSeq: number): number | undefined {
  if (isAppError(error, 'VERSION_CONFLICT')) {
    const actual = error.details?.actual;
    return typeof actual === 'number' ? actual : 0;
  }
  if (!isAppError(error, 'EVENT_ID_CONFLICT')) return undefined;
  // Another caller has told the same effect in other words, as with another duration.
  const seq = error.details?.seq;
  return typeof seq === 'number' && seq > loadedSeq ? seq : undefined;
}

/** Only the first event of each aggregate carries a condition: the batch itself moves the rest. */
function toEntries<S>(
  log: EventLog,
  drafts: readonly EventDraft[],
  loaded: Loaded<S>,
): BatchEntry[] {
  const seen = new Set<string>();
  const ts = log.defaults.now().toISOString();
  return drafts.map((draft) => {
    const event_id = eventIdFor(draft.garrison_id, draft.key);
    const event = toEvent(draft, { event_id, ts }) as AnyEvent;
    const subject = ledgerSubject(event);
    const first = !seen.has(subject);
    seen.add(subject);
    return { event, tsGiven: false, ...(first && { expect: loaded.versionOf(subject) }) };
  });
}
