import { API, LIMITS } from '#libs/contracts';
import {
  type EventDraft,
  markSubtask,
  parseTaskFile,
  startImplementation,
  startReview,
  transition,
  type TransitionCommand,
} from '#libs/missions';
import type { RoleContext } from '#libs/runtime';
import { decided, type Mission } from './run-decide.ts';
import {
  type LaneOf,
  type MissionRun,
  pastIn,
  runOf,
  startLane,
  textFile,
  workPackageFile,
  type WpStep,
} from './run-of-step.ts';
import { type Result as Work, resultOf } from './run-result.ts';
import { IMPLEMENTER, ownPolicy, REJECTIONS_MAX, REVIEWER, verdictOf } from './run-rules.ts';

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
