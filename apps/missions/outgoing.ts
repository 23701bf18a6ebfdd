import { isAppError } from '#libs/contracts';
import type { Gate } from '#libs/missions';

/** An event that is not shown, and why. */
export type Withheld = { seq: number; field: string; reason: string };

/** Why an event may not go out under the shape that is in force now; undefined: it may. */
export function faultGoingOut(gate: Gate, event: unknown): Omit<Withheld, 'seq'> | undefined {
  try {
    gate.envelope('http out', event);
    return undefined;
  } catch (error) {
    if (!isAppError(error, 'CONTRACT_VIOLATION')) throw error;
    return { field: error.field ?? 'event', reason: error.message };
  }
}

/** What may be shown of a page; views may be older than the shape that is in force now. */
export function checkedPage<E extends { seq: number; event: unknown }>(
  gate: Gate,
  entries: readonly E[],
): { history: E[]; withheld: Withheld[] } {
  const withheld: Withheld[] = [];
  const history = entries.filter(({ seq, event }) => {
    const fault = faultGoingOut(gate, event);
    if (fault !== undefined) withheld.push({ seq, ...fault });
    return fault === undefined;
  });
  return { history, withheld };
}
