import { putObject } from '#libs/broker';
import { API, type AppError, type InputRef, isAppError, LIMITS } from '#libs/contracts';
import { transition } from '#libs/missions';
import { runIdFor } from '#libs/orders';
import type { RoleContext } from '#libs/runtime';
import type { CallData } from '#libs/service';
import { decided, type Mission } from './run-decide.ts';
import { IMPLEMENTER, ownPolicy, type Past, pastOf, REVIEWER, type Step } from './run-rules.ts';

export type WpStep = Extract<Step, { wpId: string }>;
export type LaneOf = CallData<typeof API.vault.startLane>;
export type MissionRun = CallData<typeof API.ledger.run>;

const REVIEW_PLAYBOOK = 'mission-review';

/** The events of a work package since it was planned last. */
export async function pastIn({ log, place }: Mission, wpId: string): Promise<Past> {
  const events = [];
  for await (const { event } of log.events(place.mission_slug)) events.push(event);
  return pastOf(events, wpId);
}

type Given = { objective: string; inputs: InputRef[] };

/**
 * The run of a step, made once however often it is asked for: its request names the lane event.
 * Undefined: it cannot be made, and the work package is blocked with the reason.
 */
export async function runOf(
  context: RoleContext,
  mission: Mission,
  step: WpStep,
  purpose: 'implement' | 'review',
  give: (lane: LaneOf, past: Past) => Promise<Given>,
): Promise<MissionRun | undefined> {
  const { client, config } = context;
  const { settings, ledgerSeq } = mission;
  const theater_id = settings.theater_id ?? config.defaultTheater;
  const playbook = purpose === 'review' ? REVIEW_PLAYBOOK : settings.playbook;
  const request_id = `wp-event/${step.eventId ?? ''}`;
  const run_id = runIdFor(config.garrisonId, theater_id, request_id);
  const read = (at_least?: number): Promise<MissionRun> =>
    client.call(API.ledger.run, { run_id, ...(at_least !== undefined && { at_least }) });
  try {
    return await read(ledgerSeq);
  } catch (error) {
    if (!isAppError(error, 'RUN_NOT_FOUND')) throw error;
  }
  const past = await pastIn(mission, step.wpId);
  try {
    const lane = await startLane(context, mission, step, purpose);
    const { project_uuid, mission_slug } = mission.place;
    const wp = { wp_id: step.wpId, wp_event_id: step.eventId ?? '', branch: lane.branch };
    const made = await client.call(API.co.createRun, {
      ...(await give(lane, past)),
      request_id,
      user_id: `mission/${project_uuid}/${step.wpId}`,
      autopilot: true,
      theater_hint: theater_id,
      mission: { project_uuid, mission_slug, ...wp },
      ...(playbook !== null && { playbook }),
    });
    return await read(made.seq);
  } catch (error) {
    // Made meanwhile from a file that was changed since: that run counts.
    if (isAppError(error, 'REQUEST_ID_CONFLICT')) return read();
    if (!isAppError(error) || error.retry !== 'never' || error.code === 'INTERNAL') throw error;
    await block(context, mission, step, purpose, error);
    return undefined;
  }
}

/** Theaters that nobody has opened are made, as they are for any other run. */
export async function startLane(
  { client, config }: RoleContext,
  { board, settings, place }: Mission,
  { wpId }: WpStep,
  purpose: 'implement' | 'review',
): Promise<LaneOf> {
  const theater_id = settings.theater_id ?? config.defaultTheater;
  const input = {
    theater_id,
    mission_slug: place.mission_slug,
    wp_id: wpId,
    wps: board.wps.map(({ wp_id, dependencies }) => ({ wp_id, dependencies: [...dependencies] })),
    for: purpose,
  };
  try {
    return await client.call(API.vault.startLane, input);
  } catch (error) {
    if (!isAppError(error, 'THEATER_NOT_FOUND')) throw error;
    await client.call(API.vault.openTheater, { theater_id });
    return client.call(API.vault.startLane, input);
  }
}

export async function workPackageFile(
  context: RoleContext,
  { prompt }: LaneOf,
): Promise<InputRef[]> {
  return prompt === null ? [] : [await textFile(context, 'work-package.md', prompt.text)];
}

export async function textFile(
  { broker }: RoleContext,
  name: string,
  text: string,
): Promise<InputRef> {
  return { name, ...(await putObject(broker, new TextEncoder().encode(text))) };
}

/** What the system cannot do is for a person to look at. */
async function block(
  context: RoleContext,
  mission: Mission,
  { wpId, eventId }: WpStep,
  purpose: 'implement' | 'review',
  error: AppError,
): Promise<void> {
  const actor = purpose === 'review' ? REVIEWER : IMPLEMENTER;
  const reference = eventId ?? wpId;
  const command = {
    wpId,
    to: 'blocked',
    actor,
    note: `no run could be made: ${error.code}: ${error.message}`.slice(0, LIMITS.noteChars),
    policy: ownPolicy(context.version),
    ...(purpose === 'review' && {
      reviewResult: { reviewer: actor, verdict: 'changes_requested', reference },
    }),
    facts: { subtasksComplete: false, implementationEvidence: false },
  };
  await decided<unknown>(context, mission, (state) =>
    state.wps.get(wpId)?.last_event_id === eventId
      ? transition(mission.board, state, command)
      : { ok: true, value: { events: [], answer: undefined } },
  );
}
