import { scheduleTimer } from '#libs/broker';
import type { RoleContext } from './role.ts';

/** The timer of the duty officer's patrols. */
export const PATROL_TIMER = 'duty-patrol';

/** The boundary of a period that comes next after `nowMs`. */
export function nextBoundary(nowMs: number, periodMs: number): number {
  return (Math.floor(nowMs / periodMs) + 1) * periodMs;
}

/**
 * Sets the one timer of this kind to the next boundary of the period. All instances set the same
 * timer to the same time, so a fleet fires once in a period. It fires with `{at}`, in ms.
 * @throws {DEPENDENCY_UNAVAILABLE}
 */
export async function armPeriodic(
  { broker, config, log }: Pick<RoleContext, 'broker' | 'config' | 'log'>,
  kind: string,
  periodMs: number,
): Promise<void> {
  const at = nextBoundary(log.defaults.now().getTime(), periodMs);
  const id = config.garrisonId;
  await scheduleTimer(broker, { kind, id, at: new Date(at), payload: { at } });
}
