import { accept, finalize, markSubtask, parseTaskFile, refuse, type Result } from '#libs/missions';
import { join } from 'node:path';
import type { Work } from './answer.ts';
import type { Flags } from './flags.ts';
import { readOptional } from './repository.ts';
import { openMission } from './run.ts';
import type { Session, Surroundings } from './session.ts';

const SUBTASKS_MAX = 200;
const DEFAULT_ACTOR = 'finalize-tasks';

type Outcome = Result<Record<string, unknown>>;

/** `agent mission finalize-tasks`: seeds every work package that nothing has happened to yet. */
export const finalizeTasks = {
  flags: { mission: { kind: 'text', required: true }, actor: { kind: 'text' } },
  wordsMax: 0,
  work: (flags: Flags, _words: readonly string[], around: Surroundings): Promise<Work> =>
    onMission('finalize-tasks', flags, around, async (session) => {
      const command = { actor: actorOf(flags) };
      const done = await session.decide((state) => finalize(session.board, state, command));
      if (!done.ok) return done;
      const { finalized_wps } = done.value.answer;
      return accept({ result: 'success', finalized_wps, wp_count: session.board.wps.length });
    }),
} as const;

/** `agent tasks mark-status T001 … --status done|pending`. */
export const markStatus = {
  flags: {
    mission: { kind: 'text', required: true },
    status: { kind: 'text', required: true },
    actor: { kind: 'text' },
  },
  wordsMax: SUBTASKS_MAX,
  work: (flags: Flags, words: readonly string[], around: Surroundings): Promise<Work> =>
    onMission('mark-status', flags, around, (session) => mark(session, flags, words)),
} as const;

async function mark(session: Session, flags: Flags, words: readonly string[]): Promise<Outcome> {
  const status = flags.status;
  if (status !== 'done' && status !== 'pending') {
    return refuse('USAGE_ERROR', { reason: '--status must be done or pending' });
  }
  if (words.length === 0) return refuse('USAGE_ERROR', { reason: 'name a subtask, as T001' });
  const owners: [string, string][] = [];
  for (const subtask of words) {
    const wpId = ownerOf(session, subtask);
    if (wpId === undefined) {
      return refuse('USAGE_ERROR', { reason: `there is no subtask ${subtask.slice(0, 100)}` });
    }
    owners.push([subtask, wpId]);
  }
  const updated: string[] = [];
  for (const [subtask, wpId] of owners) {
    const command = { wpId, subtask, done: status === 'done', actor: actorOf(flags) };
    const marked = await session.decideOnly((state) => markSubtask(session.board, state, command));
    if (!marked.ok) return marked;
    if (marked.value.answer.changed) updated.push(subtask);
  }
  // Also those that are done already: an earlier call may have ended before it wrote its boxes.
  await session.inTurn(() => session.mirror(new Set(words)));
  return accept({ result: 'success', status, updated, task_ids: words });
}

/** The work package of a subtask: by its front matter, else by the heading above its box. */
function ownerOf({ repository, mission }: Session, subtask: string): string | undefined {
  for (const [wpId, path] of mission.taskPaths) {
    const text = readOptional(join(repository.root, path)) ?? '';
    if (parseTaskFile(wpId, text).subtasks.includes(subtask)) return wpId;
  }
  let current: string | undefined;
  for (const line of (mission.tasksMd ?? '').split(/\r?\n/)) {
    if (/^#{2,6}\s/.test(line)) current = /\bWP\d{2,}\b/.exec(line)?.[0] ?? current;
    const id = /^\s*[-*] \[[ xX]\]\s+(?:\*\*)?([A-Za-z0-9_.-]+)/.exec(line)?.[1];
    if (id === subtask && current !== undefined) return current;
  }
  return undefined;
}

function actorOf(flags: Flags): string {
  return typeof flags.actor === 'string' && flags.actor.trim() !== '' ? flags.actor : DEFAULT_ACTOR;
}

async function onMission(
  command: string,
  flags: Flags,
  around: Surroundings,
  work: (session: Session) => Promise<Outcome>,
): Promise<Work> {
  const mission = String(flags.mission);
  const opened = await openMission(mission, around);
  if (!opened.ok) return { command, mission, outcome: opened };
  const session = opened.value;
  try {
    const outcome = await work(session);
    const { identity } = session.board;
    return {
      command,
      mission,
      outcome: outcome.ok ? accept({ ...identity, ...outcome.value }) : outcome,
    };
  } finally {
    session.log.close();
  }
}
