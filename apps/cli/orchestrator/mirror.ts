import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { MissionEnvelope } from '#libs/contracts';
import type { MissionLog } from '#libs/missionlog';
import {
  appendRows,
  fold,
  initialState,
  layoutOf,
  type MissionState,
  parseLog,
  parseMeta,
  reduceRows,
  renderMeta,
  rowOf,
  type StatusRow,
  tickSubtask,
  withAcceptance,
  withActivity,
} from '#libs/missions';
import { readMission, readOptional } from './repository.ts';

/** A file of the repository as the mission's events want it. */
export type Change = { path: string; text: string };

/** As in withAcceptance: meta.json keeps that many. */
const ACCEPTANCES_MAX = 20;

/**
 * Writes what the stream knows of a mission into its files: status.events.jsonl, status.json,
 * activity logs, acceptances, subtasks. Idempotent; what is there already stays byte for byte. The
 * caller holds the repository's mirror lock, so rows land in the order of the stream.
 * @param ticks the subtasks that are set in tasks.md; a person may have changed the others since
 * @returns the paths that were written, relative to the root
 */
export async function mirrorMission(
  root: string,
  slug: string,
  log: MissionLog,
  ticks: 'all' | ReadonlySet<string>,
): Promise<string[]> {
  const mission = readMission(root, slug);
  if (!mission.ok) return [];
  const events: MissionEnvelope[] = [];
  for await (const { event } of log.events(slug)) events.push(event);
  if (events.length === 0) return [];
  const state = fold(initialState, events);
  const { taskPaths, tasksMd, eventsText } = mission.value;
  const changes = [
    ...statusChanges(slug, events, eventsText, readOptional(join(root, layoutOf(slug).status))),
    ...activityChanges(root, state, taskPaths),
    ...metaChanges(root, slug, state),
    ...tickChanges(slug, tasksMd, tickedBy(state, ticks)),
  ];
  for (const { path, text } of changes) replaceFile(join(root, path), text);
  return changes.map(({ path }) => path);
}

function statusChanges(
  slug: string,
  events: readonly MissionEnvelope[],
  logText: string,
  statusText: string | undefined,
): Change[] {
  const layout = layoutOf(slug);
  const rows = events.map(rowOf).filter((row): row is StatusRow => row !== undefined);
  const text = appendRows(logText, rows);
  const all = parseLog(text).rows;
  // The newest row's time: the same log always gives the same file.
  const at = all.reduce((latest, row) => (row.at > latest ? row.at : latest), '');
  const status = `${JSON.stringify(reduceRows(slug, all, at), null, 2)}\n`;
  return [
    ...(text === logText ? [] : [{ path: layout.events, text }]),
    ...(all.length === 0 || status === statusText ? [] : [{ path: layout.status, text: status }]),
  ];
}

function activityChanges(
  root: string,
  state: MissionState,
  taskPaths: ReadonlyMap<string, string>,
): Change[] {
  return [...taskPaths].flatMap(([wpId, path]) => {
    const entries = state.history.filter(({ wp_id }) => wp_id === wpId);
    if (entries.length === 0) return [];
    const before = readOptional(join(root, path)) ?? '';
    const text = withActivity(before, entries);
    return text === before ? [] : [{ path, text }];
  });
}

function metaChanges(root: string, slug: string, state: MissionState): Change[] {
  const accepted = state.closings.filter(({ payload }) => payload.closing === 'accepted');
  if (accepted.length === 0) return [];
  const path = layoutOf(slug).meta;
  const text = readOptional(join(root, path));
  const before = text === undefined ? {} : parseMeta(text);
  // A file that nobody can read is left to the person who broke it.
  if (before === undefined) return [];
  const after = accepted
    .slice(-ACCEPTANCES_MAX)
    .reduce(
      (meta, { payload, at }) =>
        withAcceptance(meta, String(payload.accepted_by), timeOf(payload.completed_at) ?? at),
      before,
    );
  const isSame = JSON.stringify(after) === JSON.stringify(before);
  return isSame ? [] : [{ path, text: renderMeta(after) }];
}

function timeOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function tickedBy(state: MissionState, ticks: 'all' | ReadonlySet<string>): [string, boolean][] {
  return [...state.subtasks]
    .filter(([id]) => ticks === 'all' || ticks.has(id))
    .map(([id, { value }]) => [id, value.done]);
}

function tickChanges(
  slug: string,
  tasksMd: string | undefined,
  ticked: readonly [string, boolean][],
): Change[] {
  if (tasksMd === undefined) return [];
  const text = ticked.reduce((md, [id, done]) => tickSubtask(md, id, done) ?? md, tasksMd);
  return text === tasksMd ? [] : [{ path: layoutOf(slug).tasks, text }];
}

/** Readers see the old text or the new one, never a part; the file's mode stays. */
export function replaceFile(path: string, text: string): void {
  const temporary = join(dirname(path), `.${randomUUID()}.tmp`);
  mkdirSync(dirname(path), { recursive: true });
  const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0o644;
  try {
    writeFileSync(temporary, text, { mode: mode & 0o777, flush: true });
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}
