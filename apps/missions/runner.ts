import { setTimeout as sleep } from 'node:timers/promises';
import { putObject } from '#libs/broker';
import { API, type InputRef, type NamespaceRef } from '#libs/contracts';
import type { MissionLog } from '#libs/missionlog';
import {
  type Board,
  type Decided,
  type MissionState,
  type Policy,
  type Result,
  startImplementation,
  startReview,
  transition,
  type TransitionCommand,
} from '#libs/missions';
import type { Projection } from '#libs/projections';
import type { RoleContext } from '#libs/runtime';
import { activeRuns } from './run-read.ts';
import {
  boardOfState,
  IMPLEMENTER,
  ownPolicy,
  REVIEWER,
  type RunSettings,
  type Step,
  stepsOf,
  verdictOf,
} from './run-rules.ts';

export type RunnerOptions = {
  context: RoleContext;
  projection: Projection;
  /** The log of a project. */
  logOf: (projectUuid: string) => MissionLog;
};

type Place = Pick<NamespaceRef, 'project_uuid' | 'mission_slug'>;
type Mission = {
  place: Place;
  settings: RunSettings;
  board: Board;
  state: MissionState;
  log: MissionLog;
};

const LOOK_MS = 500;

/**
 * Executes missions as orders: looks at each mission that is to run, and does what its state asks
 * for. Every step is decided on the state and names its run by the lane event it comes of, so any
 * number of processes may do it, and be killed at any point.
 */
export function startRunner(options: RunnerOptions): { stop(): Promise<void> } {
  const { context, projection } = options;
  const stopping = new AbortController();
  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      for (const { settings, ...place } of projection.read(activeRuns)) {
        await advance(options, place, settings).catch((error: unknown) => {
          context.logger.warn({ err: error, ...place }, 'a mission cannot go on; trying again');
        });
        if (stopping.signal.aborted) return;
      }
      await sleep(LOOK_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  const ended = loop();
  return {
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}

async function advance(options: RunnerOptions, place: Place, settings: RunSettings): Promise<void> {
  const log = options.logOf(place.project_uuid);
  const { state } = await log.load(place.mission_slug);
  const board = boardOfState(state);
  if (board === undefined) return;
  const mission = { place, settings, board, state, log };
  const policy = ownPolicy(options.context.version);
  const done = await Promise.allSettled(
    stepsOf(board, state, settings).map((step) => take(options.context, mission, step, policy)),
  );
  for (const one of done) if (one.status === 'rejected') throw one.reason;
}

async function take(
  context: RoleContext,
  mission: Mission,
  step: Step,
  policy: Policy,
): Promise<void> {
  const { wpId } = step;
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
      return implement(context, mission, step, policy);
    case 'review':
      return review(context, mission, step, policy);
  }
}

/** A refusal is news of the state: somebody else was faster, and the next look sees it. */
async function decided<A>(
  { logger }: RoleContext,
  { board, log }: Mission,
  decide: (state: MissionState) => Result<Decided<A>>,
  correlationId?: string,
): Promise<void> {
  const cause = correlationId === undefined ? {} : { correlationId };
  const result = await log.decide(board.identity, decide, cause);
  if (!result.ok) logger.info({ refusal: result.error }, 'a step of a mission was not taken');
}

/** Moves a work package on, if it still stands where the step saw it. */
function move(
  context: RoleContext,
  mission: Mission,
  step: Step,
  command: Omit<TransitionCommand, 'wpId' | 'facts'>,
  runId: string,
): Promise<void> {
  const facts = { subtasksComplete: true, implementationEvidence: true };
  return decided<unknown>(
    context,
    mission,
    (state) => {
      const now = `wp-event/${state.wps.get(step.wpId)?.last_event_id ?? ''}`;
      if (now !== step.requestId) return { ok: true, value: { events: [], answer: undefined } };
      return transition(mission.board, state, { ...command, wpId: step.wpId, facts });
    },
    runId,
  );
}

async function implement(
  context: RoleContext,
  mission: Mission,
  step: Step,
  policy: Policy,
): Promise<void> {
  const run = await ensureRun(context, mission, step, describe(mission, step));
  if (run.status === 'OPEN') return;
  const orders = await ordersOf(context, mission, step, run, IMPLEMENTER);
  const note = `run ${run.run_id}: ${run.status}; orders ${orders.join(', ') || 'none'}`;
  const given = { actor: IMPLEMENTER, note, policy, reviewRef: run.run_id };
  const to = run.status === 'COMPLETE' ? 'for_review' : 'blocked';
  await move(context, mission, step, { ...given, to }, run.run_id);
}

async function review(
  context: RoleContext,
  mission: Mission,
  step: Step,
  policy: Policy,
): Promise<void> {
  const { broker, client } = context;
  const work = await workOf(mission, step.wpId);
  const { reply } = await client.call(API.co.synthesize, { run_id: work });
  const object = await putObject(broker, new TextEncoder().encode(reply));
  const objective =
    `Review the result of: ${describe(mission, step)} ` +
    'Answer with one line "VERDICT: approved" or "VERDICT: changes_requested", then the reasons.';
  const inputs = [{ name: 'message.md', ...object }];
  const run = await ensureRun(context, mission, step, objective, inputs);
  if (run.status === 'OPEN') return;
  const orders = await ordersOf(context, mission, step, run, REVIEWER);
  const answer = await client.call(API.co.synthesize, { run_id: run.run_id });
  const verdict = run.status === 'COMPLETE' ? verdictOf(answer.reply) : undefined;
  const to = verdict === undefined || step.isLastRound ? 'blocked' : 'in_progress';
  const reason = verdict ?? 'no verdict';
  const reviewResult = {
    reviewer: REVIEWER,
    verdict: verdict ?? 'changes_requested',
    reference: run.run_id,
  };
  const command = {
    to: verdict === 'approved' ? 'approved' : to,
    actor: REVIEWER,
    note: `run ${run.run_id}: ${reason}; orders ${orders.join(', ') || 'none'}`,
    policy,
    reviewResult,
  };
  await move(context, mission, step, command, run.run_id);
}

function describe({ board }: Mission, { wpId }: Step): string {
  const title = board.wps.find(({ wp_id }) => wp_id === wpId)?.title ?? wpId;
  return `Work package ${wpId} of mission ${board.identity.mission_slug}: ${title.slice(0, 2_000)}.`;
}

type MissionRun = { run_id: string; status: string; seq: number };

/** The run of a step, made once however often it is asked for; its request names the lane event. */
async function ensureRun(
  { client }: RoleContext,
  { place, settings }: Mission,
  step: Step,
  objective: string,
  inputs?: InputRef[],
): Promise<MissionRun> {
  const { theater_id, playbook } = settings;
  return client.call(API.co.createRun, {
    objective,
    request_id: step.requestId,
    user_id: `mission/${place.project_uuid}/${step.wpId}`,
    autopilot: true,
    ...(theater_id !== null && { theater_hint: theater_id }),
    ...(playbook !== null && { playbook }),
    ...(inputs !== undefined && { inputs }),
  });
}

/** The orders of an ended run, told once in the history of the work package. */
async function ordersOf(
  context: RoleContext,
  mission: Mission,
  { wpId }: Step,
  { run_id, status, seq }: MissionRun,
  actor: string,
): Promise<string[]> {
  const run = await context.client.call(API.ledger.run, { run_id, at_least: seq });
  const order_ids = [...run.order_ids];
  const entry_content = `run ${run_id} is ${status}`;
  const payload = { wp_id: wpId, entry_type: 'note', entry_content, author: actor };
  await decided(
    context,
    mission,
    () => {
      const event = {
        type: 'HistoryAdded' as const,
        wpId,
        payload: { ...payload, run_id, order_ids },
        key: `run/${run_id}`,
      };
      return { ok: true, value: { events: [event], answer: undefined } };
    },
    run_id,
  );
  return order_ids;
}

/** The run whose result waits for review. */
async function workOf({ log, place }: Mission, wpId: string): Promise<string> {
  let found: unknown;
  for await (const { event } of log.events(place.mission_slug)) {
    const { wp_id, to_lane, review_ref } = event.payload;
    if (wp_id === wpId && to_lane === 'for_review') found = review_ref;
  }
  if (typeof found !== 'string') throw new Error(`${wpId} was sent to review without a run`);
  return found;
}
