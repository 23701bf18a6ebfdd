import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  accept,
  acceptMission,
  appendHistory,
  checkProvider,
  CONTRACT_VERSION,
  type ExecutionMode,
  inGraphOrder,
  locate,
  mergeFaults,
  MIN_PROVIDER_VERSION,
  openSubtasks,
  parseJsonFlag,
  parseLane,
  parsePolicy,
  parseTaskFile,
  type Policy,
  POLICY_LANES,
  readyOf,
  recordMerge,
  refuse,
  type Result,
  startImplementation,
  startReview,
  summaryOf,
  transition,
  viewOf,
  withdrawHistory,
} from '#libs/missions';
import type { CommandName, Flags } from './flags.ts';
import { homeOf } from './home.ts';
import { type MergeStrategy, STRATEGIES, type Workspace } from './git-port.ts';
import { replaceFile } from './mirror.ts';
import { readOptional } from './repository.ts';
import type { Session } from './session.ts';
import { unansweredCalls } from './unanswered.ts';

type Data = Record<string, unknown>;
type Opened = { session: Session; flags: Checked; now: () => Date };
type Handler = (opened: Opened) => Promise<Result<Data>>;

/** Flags of a command, checked as far as that is possible without the mission. */
export type Checked = {
  text(name: string): string | undefined;
  needed(name: string): string;
  isOn(name: string): boolean;
  toggle(name: string): boolean | undefined;
  policy: Policy | undefined;
  evidence: Data | undefined;
  reviewResult: Data | undefined;
};

const RUN_COMMANDS: ReadonlySet<CommandName> = new Set(['start-implementation', 'start-review']);

/** The checks that come before the mission is looked for, in the order of the reference §1.1. */
export function checkFlags(command: CommandName, flags: Flags): Result<Checked> {
  const text = (name: string): string | undefined => {
    const value = flags[name];
    return typeof value === 'string' ? value : undefined;
  };
  const lane = command === 'transition' ? parseLane(text('to') ?? '') : undefined;
  const runs = RUN_COMMANDS.has(command) || (lane !== undefined && POLICY_LANES.has(lane));
  const policy = parsePolicy(text('policy'), runs ? command : undefined);
  if (!policy.ok) return policy;
  const evidence = parseJsonFlag('--evidence-json', text('evidence-json'));
  if (!evidence.ok) return evidence;
  const reviewResult = parseJsonFlag('--review-result-json', text('review-result-json'));
  if (!reviewResult.ok) return reviewResult;
  const strategy = text('strategy') ?? 'merge';
  if (command === 'merge-mission' && !isStrategy(strategy)) {
    return refuse('UNSUPPORTED_STRATEGY', { strategy, supported: STRATEGIES });
  }
  return accept({
    text,
    needed: (name) => text(name) ?? '',
    isOn: (name) => flags[name] === true,
    toggle: (name) => (typeof flags[name] === 'boolean' ? flags[name] : undefined),
    policy: policy.value,
    evidence: evidence.value,
    reviewResult: reviewResult.value,
  });
}

/** contract-version: it needs no repository. */
export function contractVersion(flags: Checked): Result<Data> {
  const checked = checkProvider(flags.text('provider-version'));
  if (!checked.ok) return checked;
  const min_supported_provider_version = MIN_PROVIDER_VERSION;
  return accept({ api_version: CONTRACT_VERSION, min_supported_provider_version });
}

export const HANDLERS: Readonly<Record<Exclude<CommandName, 'contract-version'>, Handler>> = {
  'mission-state': async ({ session }) => {
    const view = viewOf(session.board, await session.load());
    return accept({ summary: summaryOf(view), work_packages: view });
  },

  'list-ready': async ({ session }) => {
    const ready = inGraphOrder(readyOf(session.board, await session.load()));
    const ready_work_packages = ready.map(({ wp_id, lane, dependencies }) => ({
      wp_id,
      lane,
      dependencies_satisfied: true,
      recommended_base: dependencies.at(-1) ?? null,
    }));
    return accept({ ready_work_packages });
  },

  'resolve-workspace': async ({ session, flags }) => {
    const wpId = flags.needed('wp');
    const found = locate(session.board, await session.load(), wpId);
    if (!found.ok) return found;
    const workspace = await session.git.resolveWorkspace(wpId, false);
    if (!workspace.ok) return workspace;
    return accept({ wp_id: wpId, ...placesOf(session, wpId, workspace.value) });
  },

  'start-implementation': async ({ session, flags }) => {
    const wpId = flags.needed('wp');
    const command = { wpId, actor: flags.needed('actor'), policy: flags.policy };
    const mode = modeOf(session, wpId);
    const started = await session.decide((state) =>
      startImplementation(session.board, state, { ...command, mode }),
    );
    if (!started.ok) return started;
    // The claim stands if this fails; the same call again makes what is missing.
    const workspace = await session.git.resolveWorkspace(wpId, true);
    if (!workspace.ok) return workspace;
    return accept({
      wp_id: wpId,
      ...started.value.answer,
      ...placesOf(session, wpId, workspace.value),
      policy_metadata_recorded: true,
    });
  },

  'start-review': async ({ session, flags }) => {
    const wpId = flags.needed('wp');
    const command = {
      wpId,
      actor: flags.needed('actor'),
      policy: flags.policy,
      reviewRef: flags.text('review-ref'),
      mode: modeOf(session, wpId),
    };
    const started = await session.decide((state) => startReview(session.board, state, command));
    if (!started.ok) return started;
    return accept({
      wp_id: wpId,
      ...started.value.answer,
      prompt_path: promptPath(session, wpId),
      policy_metadata_recorded: true,
    });
  },

  transition: move,
  'append-history': addHistory,
  'accept-mission': acceptAll,
  'merge-mission': merge,
};

async function move({ session, flags }: Opened): Promise<Result<Data>> {
  const wpId = flags.needed('wp');
  const implementationEvidence =
    flags.toggle('implementation-evidence-present') ??
    (parseLane(flags.needed('to')) === 'for_review'
      ? await session.git.hasImplementationEvidence(wpId)
      : undefined);
  const command = {
    wpId,
    to: flags.needed('to'),
    actor: flags.needed('actor'),
    note: flags.text('note'),
    policy: flags.policy,
    force: flags.isOn('force'),
    reviewRef: flags.text('review-ref'),
    evidence: flags.evidence,
    reviewResult: flags.reviewResult,
    mode: modeOf(session, wpId),
    facts: {
      subtasksComplete:
        flags.toggle('subtasks-complete') ??
        openSubtasks(session.mission.tasksMd, wpId).length === 0,
      implementationEvidence,
    },
  };
  const moved = await session.decide((state) => transition(session.board, state, command));
  if (!moved.ok) return moved;
  const { from_lane, to_lane } = moved.value.answer;
  const policy_metadata_recorded = flags.policy !== undefined;
  return accept({ wp_id: wpId, from_lane, to_lane, policy_metadata_recorded });
}

/**
 * The entry is stored, written and committed in one turn; without the commit it does not count.
 * Each call adds an entry (reference §1.4), but a call that ended without an outcome is taken up by
 * the same one (mission, work package, actor, note) that follows it in this repository.
 */
async function addHistory({ session, flags }: Opened): Promise<Result<Data>> {
  const wpId = flags.needed('wp');
  const actor = flags.needed('actor');
  const note = flags.needed('note');
  const call = [session.mission.slug, wpId, actor, note];
  return session.inTurn(async () => {
    const unanswered = unansweredCalls(homeOf(session.repository.gitDir).unanswered);
    const earlier = unanswered.earlier(...call);
    const isOpen = earlier !== undefined && !(await session.load()).withdrawn.has(earlier);
    const entryId = isOpen ? earlier : `hist-${randomBytes(16).toString('hex')}`;
    unanswered.begin(entryId, ...call);
    const outcome = await storeEntry(session, { wpId, actor, note, entryId });
    unanswered.end(...call);
    return outcome;
  });
}

async function storeEntry(
  session: Session,
  command: { wpId: string; actor: string; note: string; entryId: string },
): Promise<Result<Data>> {
  const { wpId, actor, entryId } = command;
  const added = await session.decideOnly((state) => appendHistory(session.board, state, command));
  if (!added.ok) return added;
  const path = session.mission.taskPaths.get(wpId);
  const file = path === undefined ? undefined : join(session.repository.root, path);
  const before = file === undefined ? undefined : readOptional(file);
  await session.mirror(new Set());
  if (path === undefined || file === undefined) return accept({ ...added.value.answer });
  const title = `${session.mission.slug} ${wpId}: history entry by ${actor}`;
  const committed = await session.git.commitFiles([path], title);
  if (committed.ok) return accept({ ...added.value.answer });
  if (before !== undefined) replaceFile(file, before);
  const reason = committed.error.message;
  const taken = { wpId, actor, entryId, reason };
  await session.decideOnly((state) => withdrawHistory(session.board, state, taken));
  return committed;
}

async function acceptAll({ session, flags, now }: Opened): Promise<Result<Data>> {
  const workflowEvidenceMissing = await session.git.workflowEvidenceMissing();
  const command = {
    actor: flags.needed('actor'),
    at: now().toISOString(),
    workflowEvidenceMissing,
  };
  const accepted = await session.decide((state) => acceptMission(session.board, state, command));
  return accepted.ok ? accept({ ...accepted.value.answer }) : accepted;
}

async function merge({ session, flags, now }: Opened): Promise<Result<Data>> {
  const strategy = flags.text('strategy') ?? 'merge';
  if (!isStrategy(strategy)) throw new Error('the strategy has been checked');
  const target = flags.text('target');
  const state = await session.load();
  const errors = mergeFaults(session.board, state);
  if (errors.length > 0) {
    const target_branch = target ?? session.board.targetBranch ?? 'the default branch';
    return refuse('PREFLIGHT_FAILED', { target_branch, errors });
  }
  const canceled = viewOf(session.board, state)
    .filter(({ lane }) => lane === 'canceled')
    .map(({ wp_id }) => wp_id);
  const push = flags.isOn('push');
  const merged = await session.git.merge({ target, strategy, push, canceled });
  if (!merged.ok) return merged;
  const { target_branch, commit, worktree_removed } = merged.value;
  const record = { target: target_branch, strategy, commit, at: now().toISOString() };
  const recorded = await session.decide((state) => recordMerge(session.board, state, record));
  if (!recorded.ok) return recorded;
  const { merged_wps } = recorded.value.answer;
  return accept({ merged: true, target_branch, strategy, worktree_removed, merged_wps });
}

function isStrategy(text: string): text is MergeStrategy {
  return STRATEGIES.some((name) => name === text);
}

function promptPath({ repository, mission }: Session, wpId: string): string {
  const path = mission.taskPaths.get(wpId) ?? `kitty-specs/${mission.slug}/tasks/${wpId}.md`;
  return join(repository.root, path);
}

function placesOf(session: Session, wpId: string, workspace: Workspace): Data {
  return { ...workspace, prompt_path: promptPath(session, wpId) };
}

function modeOf({ repository, mission }: Session, wpId: string): ExecutionMode {
  const path = mission.taskPaths.get(wpId);
  const text = path === undefined ? undefined : readOptional(join(repository.root, path));
  const { executionMode } = parseTaskFile(wpId, text ?? '');
  return executionMode === 'planning_artifact' ? 'direct_repo' : 'worktree';
}
