import { isDeepStrictEqual } from 'node:util';
import { type API, AppError, invalid } from '#libs/contracts';
import type { MissionLog } from '#libs/missionlog';
import {
  type Board,
  derivedId,
  findWp,
  type MissionState,
  retry,
  RUN_REQUESTED,
} from '#libs/missions';
import type { CallData, CallInput } from '#libs/service';
import {
  boardOfState,
  IMPLEMENTER,
  REVIEWER,
  type RunSettings,
  settingsOf,
  standingOf,
  stepsOf,
} from './run-rules.ts';

type Known = { board: Board; state: MissionState };

/**
 * Records that a mission is to be executed by the system, or no longer. The same again is done.
 * @throws {NAMESPACE_NOT_FOUND} no event has told of the mission
 * @throws {ILLEGAL_TRANSITION} another theater or playbook, while units are at work
 */
export async function requestRun(
  log: MissionLog,
  input: CallInput<typeof API.missions.run>,
): Promise<CallData<typeof API.missions.run>> {
  const { mission_slug, stop = false } = input;
  let next: string[] = [];
  const events = await tell(log, mission_slug, ({ board, state }) => {
    const before = settingsOf(state);
    const settings: RunSettings = stop
      ? { ...(before ?? DEFAULTS), active: false }
      : {
          active: true,
          review: input.review ?? 'unit',
          merge: input.merge ?? 'merge',
          theater_id: input.theater_id ?? null,
          playbook: input.playbook ?? null,
          merge_attempt: before?.merge_attempt ?? 1,
        };
    const steps = stepsOf(board, state, settings);
    next = steps.flatMap((step) => ('wpId' in step ? [step.wpId] : []));
    if (isDeepStrictEqual(before, settings)) return undefined;
    if (before !== undefined) checkPlace(state, before, settings);
    return settings;
  });
  return { active: !stop, duplicate: events === 0, next };
}

const DEFAULTS: RunSettings = {
  active: false,
  review: 'unit',
  merge: 'merge',
  theater_id: null,
  playbook: null,
  merge_attempt: 1,
};

/** A run is known by its theater and its lane event: in another theater it would be made again. */
function checkPlace(state: MissionState, before: RunSettings, wanted: RunSettings): void {
  const isSame = before.theater_id === wanted.theater_id && before.playbook === wanted.playbook;
  const atWork = [...state.wps.values()].find(
    ({ lane, actor }) =>
      (lane === 'in_progress' || lane === 'in_review') &&
      (actor === IMPLEMENTER || actor === REVIEWER),
  );
  if (isSame || atWork === undefined) return;
  const params = { what: 'Another theater or playbook', status: `${atWork.wp_id} is worked on` };
  throw new AppError('ILLEGAL_TRANSITION', params, { field: 'theater_id' });
}

/**
 * Brings a blocked work package back, or has a refused merge tried again.
 * @throws {NAMESPACE_NOT_FOUND}
 * @throws {INVALID_REQUEST} the mission has no such work package
 * @throws {ILLEGAL_TRANSITION} it is not blocked; no merge was refused
 */
export async function requestRetry(
  log: MissionLog,
  { mission_slug, wp_id, by, note }: CallInput<typeof API.missions.retry>,
): Promise<{ retried: string }> {
  if (wp_id === undefined) {
    await tell(log, mission_slug, ({ board, state }) => {
      const settings = settingsOf(state);
      const standing = settings === undefined ? 'not run' : standingOf(board, state, settings);
      if (settings === undefined || standing !== 'merge refused') {
        const status = `the mission is ${standing}`;
        throw new AppError('ILLEGAL_TRANSITION', { what: 'Another try of the merge', status });
      }
      const { merge_attempt: tried } = settings;
      return { ...settings, merge_attempt: tried + 1, requested_by: by, note };
    });
    return { retried: 'merge' };
  }
  const { board, state } = known(log, await log.load(mission_slug), mission_slug);
  if (findWp(board, state, wp_id) === undefined) {
    throw invalid('wp_id', `names no work package of ${mission_slug}`);
  }
  const command = { wpId: wp_id, actor: by, note: note ?? `brought back by ${by}` };
  const done = await log.decide(board.identity, (now) => retry(board, now, command));
  if (done.ok) return { retried: wp_id };
  const { message: status } = done.error;
  throw new AppError('ILLEGAL_TRANSITION', { what: 'A retry', status }, { field: 'wp_id' });
}

/** How the system executes a mission and where that stands; null: nobody has asked for it. */
export async function readRun(
  log: MissionLog,
  slug: string,
): Promise<Pick<CallData<typeof API.missions.board>, 'run'> & { version: number }> {
  const { state, version } = await log.load(slug);
  const settings = settingsOf(state);
  const board = boardOfState(state);
  if (settings === undefined || board === undefined) return { run: null, version };
  const { merge_attempt: _attempt, ...told } = settings;
  return { run: { ...told, standing: standingOf(board, state, settings) }, version };
}

/** @throws {NAMESPACE_NOT_FOUND} no event has told of the mission */
function known({ emitter }: MissionLog, { state }: { state: MissionState }, slug: string): Known {
  const board = boardOfState(state);
  if (board !== undefined) return { board, state };
  throw new AppError('NAMESPACE_NOT_FOUND', { mission: slug, project: emitter.projectUuid });
}

/** Tells what is asked for of the mission as it stands, if it is news; how many events that took. */
async function tell(
  log: MissionLog,
  mission_slug: string,
  ask: (
    known: Known,
  ) => (RunSettings & { requested_by?: string; note?: string | undefined }) | undefined,
): Promise<number> {
  const { projectUuid: project_uuid, buildId, nodeId } = log.emitter;
  const place = { project_uuid, mission_slug };
  const { events } = await log.tell(place, (state, { version, lamport, timestamp }) => {
    const { board } = known(log, { state }, mission_slug);
    const asked = ask({ board, state });
    if (asked === undefined) return [];
    const event = {
      event_id: derivedId(project_uuid, mission_slug, RUN_REQUESTED, String(version)),
      event_type: RUN_REQUESTED,
      aggregate_id: mission_slug,
      aggregate_type: 'Build',
      schema_version: '3.0.0',
      build_id: buildId,
      node_id: nodeId,
      lamport_clock: lamport,
      timestamp,
      causation_id: null,
      project_uuid,
      payload: { ...board.identity, ...asked },
    };
    return [event];
  });
  return events.length;
}
