import { putObject } from '#libs/broker';
import { API, type AppError, type InputRef, isAppError, LIMITS } from '#libs/contracts';
import type { MissionLog } from '#libs/missionlog';
import {
  type Board,
  type Decided,
  type EventDraft,
  markSubtask,
  type MissionState,
  parseTaskFile,
  type Result,
  startImplementation,
  startReview,
  transition,
  type TransitionCommand,
} from '#libs/missions';
import { runIdFor } from '#libs/orders';
import type { RoleContext } from '#libs/runtime';
import type { CallData } from '#libs/service';
import { type Result as Work, resultOf } from './run-result.ts';
import {
  IMPLEMENTER,
  ownPolicy,
  type Past,
  pastOf,
  REJECTIONS_MAX,
  REVIEWER,
  type RunSettings,
  settingsOf,
  type Step,
  verdictOf,
} from './run-rules.ts';

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

export type WpStep = Extract<Step, { wpId: string }>;
type LaneOf = CallData<typeof API.vault.startLane>;
type MissionRun = CallData<typeof API.ledger.run>;

const REVIEW_PLAYBOOK = 'mission-review';

/** Takes one step of a work package; it is done, or waits for the end of its run, or throws. */
export async function take(context: RoleContext, mission: Mission, step: WpStep): Promise<void> {
  const { wpId } = step;
  const policy = ownPolicy(context.version);
  switch (step.kind) {
    case 'start':
      return decided(context, mission, (state) =>
        startImplementation(mission.board, state, { wpId, actor: IMPLEMENTER, policy }),
      );
    case 'start review':
      return decided(context, mission, (state) =>
        startReview(mission.board, state, { wpId, actor: REVIEWER, policy }),
      );
    case 'implement':
      return implement(context, mission, step);
    case 'review':
      return review(context, mission, step);
  }
}

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

async function implement(context: RoleContext, mission: Mission, step: WpStep): Promise<void> {
  const begun = await runOf(context, mission, step, 'implement', async (lane, past) => {
    const inputs = await workPackageFile(context, lane);
    if (past.rejection !== undefined) {
      const { reply } = await context.client.call(API.co.synthesize, { run_id: past.rejection });
      inputs.push(await textFile(context, 'review.md', reply));
    }
    const rework = past.rejection === undefined ? '' : ' Mend what review.md asks for.';
    return { objective: `${describe(mission, step)}${rework}`, inputs };
  });
  if (begun === undefined || begun.status === 'OPEN') return;
  const work = await resultOf(context, begun);
  // What is on the lane now, and not what is said of it, is the evidence.
  const lane = await startLane(context, mission, step, 'implement');
  const { ticks, open } = subtasksOf(mission, step, lane);
  const fault = faultOf(begun, work, lane, open);
  const command = {
    to: fault === undefined ? 'for_review' : 'blocked',
    actor: IMPLEMENTER,
    note: noteOf(begun, fault),
    policy: ownPolicy(context.version),
    reviewRef: begun.run_id,
    facts: { subtasksComplete: open === 0, implementationEvidence: lane.evidence },
  };
  await move(context, mission, step, begun, command, fault === undefined ? ticks : []);
}

/** Why the end of a run is not one that can be reviewed. */
function faultOf(run: MissionRun, work: Work, lane: LaneOf, open: number): string | undefined {
  if (run.status !== 'COMPLETE') return `it is ${run.status}: ${reasonOf(run)}`;
  if (work.integrated.length === 0 || !lane.evidence) return `nothing of it is on ${lane.branch}`;
  return open > 0 ? `${open} boxes of tasks.md are none of its subtasks` : undefined;
}

/** The subtasks that a work package was ordered with, and how many open boxes are none of them. */
function subtasksOf({ board, state }: Mission, { wpId }: WpStep, lane: LaneOf) {
  const ids = parseTaskFile(wpId, lane.prompt?.text ?? '').subtasks;
  const ticks = ids.flatMap((subtask): EventDraft[] => {
    const marked = markSubtask(board, state, { wpId, subtask, done: true, actor: IMPLEMENTER });
    return marked.ok ? [...marked.value.events] : [];
  });
  return { ticks, open: Math.max(0, (lane.subtasks?.open ?? 0) - ids.length) };
}

async function review(context: RoleContext, mission: Mission, step: WpStep): Promise<void> {
  const past = await pastIn(mission, step.wpId);
  const begun = await runOf(context, mission, step, 'review', async (lane, { work }) => {
    if (work === undefined) throw new Error(`${step.wpId} was sent to review without a run`);
    const done = await context.client.call(API.ledger.run, { run_id: work });
    const files = (await resultOf(context, done)).files;
    const own = await workPackageFile(context, lane);
    const shown = await Promise.all(
      files
        .slice(0, LIMITS.inputFiles - own.length)
        .map(({ path, text }) => textFile(context, `result/${path}`, text)),
    );
    const objective = `Review the result of: ${describe(mission, step)} It is in result/ and on ${lane.branch}.`;
    return { objective, inputs: [...own, ...shown] };
  });
  if (begun === undefined || begun.status === 'OPEN') return;
  const { run_id } = begun;
  const verdict =
    begun.status === 'COMPLETE'
      ? verdictOf((await context.client.call(API.co.synthesize, { run_id })).reply)
      : undefined;
  const isLast = past.rejections >= REJECTIONS_MAX;
  const back = verdict === undefined || isLast ? 'blocked' : 'in_progress';
  const fault =
    verdict === undefined
      ? `its review gave no verdict (${begun.status})`
      : isLast && verdict !== 'approved'
        ? `it was sent back ${past.rejections + 1} times`
        : undefined;
  await move(context, mission, step, begun, {
    to: verdict === 'approved' ? 'approved' : back,
    actor: REVIEWER,
    note: noteOf(begun, fault ?? verdict),
    policy: ownPolicy(context.version),
    reviewResult: {
      reviewer: REVIEWER,
      verdict: verdict ?? 'changes_requested',
      reference: run_id,
    },
    facts: { subtasksComplete: true, implementationEvidence: true },
  });
}

function noteOf({ run_id, order_ids }: MissionRun, what = 'COMPLETE'): string {
  const orders = order_ids.join(', ') || 'none';
  return `run ${run_id}: ${what}; orders ${orders}`.slice(0, LIMITS.noteChars);
}

function reasonOf({ reason }: MissionRun): string {
  return typeof reason === 'string' ? reason : 'no reason was given';
}

function describe({ board }: Mission, { wpId }: WpStep): string {
  const title = board.wps.find(({ wp_id }) => wp_id === wpId)?.title ?? wpId;
  return `Work package ${wpId} of mission ${board.identity.mission_slug}: ${title.slice(0, 2_000)}.`;
}

/** The events of a work package since it was planned last. */
async function pastIn({ log, place }: Mission, wpId: string): Promise<Past> {
  const events = [];
  for await (const { event } of log.events(place.mission_slug)) events.push(event);
  return pastOf(events, wpId);
}

type Given = { objective: string; inputs: InputRef[] };

/**
 * The run of a step, made once however often it is asked for: its request names the lane event.
 * Undefined: it cannot be made, and the work package is blocked with the reason.
 */
async function runOf(
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

function startLane(
  { client, config }: RoleContext,
  { board, settings, place }: Mission,
  { wpId }: WpStep,
  purpose: 'implement' | 'review',
): Promise<LaneOf> {
  return client.call(API.vault.startLane, {
    theater_id: settings.theater_id ?? config.defaultTheater,
    mission_slug: place.mission_slug,
    wp_id: wpId,
    wps: board.wps.map(({ wp_id, dependencies }) => ({ wp_id, dependencies: [...dependencies] })),
    for: purpose,
  });
}

async function workPackageFile(context: RoleContext, { prompt }: LaneOf): Promise<InputRef[]> {
  return prompt === null ? [] : [await textFile(context, 'work-package.md', prompt.text)];
}

async function textFile({ broker }: RoleContext, name: string, text: string): Promise<InputRef> {
  return { name, ...(await putObject(broker, new TextEncoder().encode(text))) };
}

/** Moves a work package on, if it still stands where the step saw it, and tells of run and orders. */
async function move(
  context: RoleContext,
  mission: Mission,
  step: WpStep,
  run: MissionRun,
  command: Omit<TransitionCommand, 'wpId'>,
  more: readonly EventDraft[] = [],
): Promise<void> {
  const { wpId } = step;
  const { run_id, status, order_ids } = run;
  const payload = {
    wp_id: wpId,
    entry_type: 'note',
    entry_content: `run ${run_id} is ${status}`,
    author: command.actor,
    run_id,
    order_ids: [...order_ids],
  };
  const told: EventDraft = { type: 'HistoryAdded', wpId, payload, key: `run/${run_id}` };
  await decided<unknown>(
    context,
    mission,
    (state) => {
      const events = [told, ...more];
      if (state.wps.get(wpId)?.last_event_id !== step.eventId) {
        return { ok: true, value: { events: [told], answer: undefined } };
      }
      const moved = transition(mission.board, state, { ...command, wpId });
      return moved.ok
        ? { ok: true, value: { events: [...events, ...moved.value.events], answer: undefined } }
        : moved;
    },
    run_id,
  );
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
