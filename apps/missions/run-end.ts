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
import { decided, type Mission } from './run-decide.ts';

/** A merge of many lanes in a large repository takes its time. */
const PATIENT = { timeoutMs: 300_000 };

/** Accepts a mission, or merges it: what is left to do once every work package is settled. */
export async function end(context: RoleContext, mission: Mission, step: EndStep): Promise<void> {
  try {
    await (step.kind === 'accept' ? acceptAll(context, mission, step) : merge(context, mission));
  } catch (error) {
    if (!isAppError(error) || error.retry !== 'never' || error.code === 'INTERNAL') throw error;
    await refused(context, mission, step, error.code, reasonsIn(error.details) ?? [error.message]);
  }
}

async function acceptAll(context: RoleContext, mission: Mission, step: EndStep): Promise<void> {
  const owed = await evidenceOwed(context, mission);
  if (owed !== undefined) {
    const reasons = [`${owed} must name a run of the workflows that it changes`];
    return refused(context, mission, step, 'WORKFLOW_EVIDENCE_REQUIRED', reasons);
  }
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

/** The file with evidence that a mission which changes workflows still owes. */
async function evidenceOwed(context: RoleContext, mission: Mission): Promise<string | undefined> {
  const input = { ...mergeInput(context, mission), dry_run: true };
  try {
    const looked = await context.client.call(API.vault.mergeMission, input, PATIENT);
    return looked.workflow_evidence_missing ?? undefined;
  } catch (error) {
    // What stands against a merge is told when it is tried.
    if (!isAppError(error, 'PREFLIGHT_FAILED')) throw error;
    const path = error.details?.workflow_evidence_missing;
    return typeof path === 'string' ? path : undefined;
  }
}

/** The merge itself may be repeated: what is merged already answers the same commit. */
async function merge(context: RoleContext, mission: Mission): Promise<void> {
  const { board } = mission;
  const { merge: strategy } = mission.settings;
  if (strategy === 'none') return;
  const input = { ...mergeInput(context, mission), strategy };
  const merged = await context.client.call(API.vault.mergeMission, input, PATIENT);
  const { target_branch: target, commit } = merged;
  if (commit === null) throw new Error('a merge that is no dry run has a commit');
  const at = context.log.defaults.now().toISOString();
  const record = { target, strategy, commit, at };
  // It is on the target, so it is told also where somebody has stopped the mission meanwhile.
  await mission.log.decide(board.identity, (now) => recordMerge(board, now, record));
}

function mergeInput({ config }: RoleContext, { board, state, settings, place }: Mission) {
  return {
    theater_id: settings.theater_id ?? config.defaultTheater,
    mission_slug: place.mission_slug,
    wps: board.wps.map(({ wp_id, dependencies }) => ({ wp_id, dependencies: [...dependencies] })),
    canceled: viewOf(board, state)
      .filter(({ lane }) => lane === 'canceled')
      .map(({ wp_id }) => wp_id),
  };
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
