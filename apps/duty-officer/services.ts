import { setTimeout as sleep } from 'node:timers/promises';
import { API, type Role, ROLES } from '#libs/contracts';
import type { RoleContext } from '#libs/runtime';
import type { Probe } from './garrison.ts';

const PROBE_MS = 1_500;
/** A role that is being started again answers then. */
const SECOND_LOOK_MS = 500;

/** Roles on which the work depends: all but the one that asks. */
const PROBED: readonly Role[] = ROLES.filter((role) => role !== 'duty-officer');

type Context = Pick<RoleContext, 'client'>;

/**
 * Asks every role for its health, all at once; never rejects. Takes 4 s at most.
 * @param awaited roles that are asked a second time before they count as down
 */
export function probeAll(context: Context, awaited: ReadonlySet<string>): Promise<Probe[]> {
  return Promise.all(
    PROBED.map(async (service) => {
      const first = await probe(context, service);
      if (first.healthy || !awaited.has(service)) return first;
      await sleep(SECOND_LOOK_MS);
      return probe(context, service);
    }),
  );
}

async function probe({ client }: Context, service: Role): Promise<Probe> {
  try {
    const { status } = await client.call(API[service].health, {}, { timeoutMs: PROBE_MS });
    return { service, healthy: status === 'ok', reason: `it says ${status}` };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { service, healthy: false, reason };
  }
}
