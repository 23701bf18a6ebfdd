import { API, isAppError, LIMITS } from '#libs/contracts';
import {
  acceptMission,
  type Decided,
  type MissionState,
  recordMerge,
  type Result,
  viewOf,
} from '#libs/missions';
import type { RoleContext } from '#libs/runtime';
import { type EndStep, IMPLEMENTER, type MergeRefused, settingsOf, stepsOf } from './run-rules.ts';
import { decided, type Mission } from './run-steps.ts';

/** Accepts a mission, or merges it: what is left to do once every work package is settled. */
export async function end(context: RoleContext, mission: Mission, step: EndStep): Promise<void> {
  try {
    await (step.kind === 'accept' ? acceptAll(context, mission) : merge(context, mission));
  } catch (error) {
    if (!isAppError(error) || error.retry !== 'never' || error.code === 'INTERNAL') throw error;
    await refused(context, mission, step, error.code, reasonsIn(error.details) ?? [error.message]);
  }
}

async function acceptAll(context: RoleContext, mission: Mission): Promise<void> {
  const at = context.log.defaults.now().toISOString();
  await decided<unknown>(context, mission, (state) =>
    isDue(mission, state, 'accept')
      ? acceptMission(mission.board, state, { actor: IMPLEMENTER, at })
      : NOTHING,
  );
}

const NOTHING: Result<Decided<undefined>> = { ok: true, value: { events: [], answer: undefined } };

function isDue({ board }: Mission, state: MissionState, kind: EndStep['kind']): boolean {
  const settings = settingsOf(state);
  return (
    settings !== undefined && stepsOf(board, state, settings).some((step) => step.kind === kind)
  );
}

/** The merge itself may be repeated: what is merged already answers the same commit. */
async function merge(context: RoleContext, mission: Mission): Promise<void> {
  const { board, state, settings, place } = mission;
  const { merge: strategy, theater_id } = settings;
  if (strategy === 'none') return;
  const merged = await context.client.call(API.vault.mergeMission, {
    theater_id: theater_id ?? context.config.defaultTheater,
    mission_slug: place.mission_slug,
    wps: board.wps.map(({ wp_id, dependencies }) => ({ wp_id, dependencies: [...dependencies] })),
    canceled: viewOf(board, state)
      .filter(({ lane }) => lane === 'canceled')
      .map(({ wp_id }) => wp_id),
    strategy,
  });
  const { target_branch: target, commit } = merged;
  if (commit === null) throw new Error('a merge that is no dry run has a commit');
  const at = context.log.defaults.now().toISOString();
  const record = { target, strategy, commit, at };
  // It is on the target, so it is told also where somebody has stopped the mission meanwhile.
  await mission.log.decide(board.identity, (now) => recordMerge(board, now, record));
}

/** Tells that an end was refused; it waits for somebody to ask for it again. */
async function refused(
  context: RoleContext,
  mission: Mission,
  { kind, of }: EndStep,
  code: string,
  errors: string[],
): Promise<void> {
  const { merge_attempt: attempt } = mission.settings;
  const told: MergeRefused = { attempt, of, code, errors };
  const what = kind === 'accept' ? 'acceptance' : 'merge';
  const payload = {
    error_type: 'validation',
    error_message: `the ${what} was refused: ${errors.join('; ')}`.slice(0, LIMITS.noteChars),
    agent_id: IMPLEMENTER,
    merge_refused: told,
  };
  const key = `merge-refused/${of}/${attempt}`;
  const event = { type: 'ErrorLogged' as const, wpId: undefined, payload, key };
  await decided(context, mission, (now) =>
    isDue(mission, now, kind)
      ? { ok: true, value: { events: [event], answer: undefined } }
      : NOTHING,
  );
}

const ERRORS_MAX = 50;
const ERROR_CHARS_MAX = 1_000;

function reasonsIn(details: unknown): string[] | undefined {
  const { errors } = (details ?? {}) as { errors?: unknown };
  if (!Array.isArray(errors) || errors.length === 0) return undefined;
  return errors.slice(0, ERRORS_MAX).map((one) => String(one).slice(0, ERROR_CHARS_MAX));
}
