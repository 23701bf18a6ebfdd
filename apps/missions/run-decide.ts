import type { MissionLog } from '#libs/missionlog';
import type { Board, Decided, MissionState, Result } from '#libs/missions';
import type { RoleContext } from '#libs/runtime';
import { type RunSettings, settingsOf } from './run-rules.ts';

/** A mission as a look has found it. */
export type Mission = {
  place: { project_uuid: string; mission_slug: string };
  settings: RunSettings;
  board: Board;
  state: MissionState;
  log: MissionLog;
  /** Sequence of the end of a run that the look is about; what is read must reflect it. */
  ledgerSeq: number | undefined;
};

/** A refusal is news of the state: somebody else was faster, and that wakes the mission again. */
export async function decided<A>(
  { logger }: RoleContext,
  { board, log }: Mission,
  decide: (state: MissionState) => Result<Decided<A>>,
  correlationId?: string,
): Promise<void> {
  const cause = correlationId === undefined ? {} : { correlationId };
  const result = await log.decide<A | undefined>(
    board.identity,
    // Who has stopped it meanwhile is obeyed.
    (state) => (settingsOf(state)?.active === true ? decide(state) : NOTHING),
    cause,
  );
  if (!result.ok) logger.info({ refusal: result.error }, 'a step of a mission was not taken');
}

const NOTHING = { ok: true, value: { events: [], answer: undefined } } as const;
