import { API } from '#libs/contracts';
import type { Pauses, RoleContext } from '#libs/runtime';
import type { RunPlace } from './runs.ts';

const PAGE = 200;

/**
 * Moves on every open run of a theater that is no longer paused: nothing else would wake them. A
 * run that cannot move on does not hold up the others.
 * @throws the last error of a run, so that the whole is done again
 */
export async function advanceTheater(
  { client }: RoleContext,
  pauses: Pauses,
  theater_id: string,
  resumedSeq: number,
  advance: (place: RunPlace) => Promise<void>,
): Promise<void> {
  if ((await pauses.heldBy({ theater_id }, resumedSeq)) !== null) return;
  let cursor: string | undefined;
  let failure: Error | undefined;
  do {
    const page = await client.call(API.ledger.runs, {
      theater_id,
      status: 'OPEN',
      at_least: resumedSeq,
      limit: PAGE,
      ...(cursor !== undefined && { cursor }),
    });
    for (const { run_id } of page.runs) {
      try {
        await advance({ run_id, theater_id });
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
      }
    }
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
  if (failure !== undefined) throw failure;
}
