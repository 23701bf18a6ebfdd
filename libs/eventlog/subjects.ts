import { ABSENT, type AnyEvent, isId } from '#libs/contracts';

/** Name of the stream that holds IronClaw's events. */
export const LEDGER_STREAM = 'LEDGER';
const LEDGER_PREFIX = 'led.v1';

/** The ids that place an event; null or undefined stands for absent. */
export type Place = {
  garrison_id: string;
  theater_id?: string | null | undefined;
  run_id?: string | null | undefined;
  order_id?: string | null | undefined;
};

/**
 * The literal subject of an event's aggregate: `led.v1.<garrison>.<theater>.<run>.<order>`.
 * Every writer of an aggregate uses this one string, which keeps compare-and-set safe on a cluster.
 */
export function ledgerSubject(place: Place): string {
  const { garrison_id, theater_id, run_id, order_id } = place;
  return [LEDGER_PREFIX, ...[garrison_id, theater_id, run_id, order_id].map(token)].join('.');
}

/** A filter over ledger subjects: an id left undefined matches any, null only the absent one. */
export function ledgerFilter(place: Partial<Place>): string {
  const ids = [place.garrison_id, place.theater_id, place.run_id, place.order_id];
  return `${LEDGER_PREFIX}.${ids.map((value) => (value === undefined ? '*' : token(value))).join('.')}`;
}

/** The ids in a ledger subject, or undefined if it is none (a filter is none either). */
export function parseLedgerSubject(subject: string): Required<Place> | undefined {
  const [plane, version, garrison, ...rest] = subject.split('.');
  if (`${plane}.${version}` !== LEDGER_PREFIX || rest.length !== 3) return undefined;
  if (!isId(garrison) || !rest.every((part) => part === ABSENT || isId(part))) return undefined;
  const [theater_id, run_id, order_id] = rest.map((part) => (part === ABSENT ? null : part));
  return { garrison_id: garrison, theater_id, run_id, order_id };
}

/** True if the event's own ids are those of the subject it was found at. */
export function isAt(event: AnyEvent, subject: string): boolean {
  return ledgerSubject(event) === subject;
}

function token(value: string | null | undefined): string {
  if (value === null || value === undefined) return ABSENT;
  // Ids are checked at the edge; this is the last line before text becomes part of a subject.
  if (!isId(value)) throw new Error(`not an id: ${JSON.stringify(value).slice(0, 200)}`);
  return value;
}

/** Jobs for one worker class of one theater. */
export function jobSubject(theaterId: string, workerClass: string): string {
  return `job.v1.${token(theaterId)}.${token(workerClass)}`;
}

/** The literal subject of a project: all that happens to it, agents' signs of life too. */
export function projectSubject(projectId: string): string {
  return `prj.v1.${token(projectId)}`;
}

/** Where a thing that could not be handled is set aside. */
export function deadSubject(channel: string): string {
  return `dead.v1.${token(channel)}`;
}
