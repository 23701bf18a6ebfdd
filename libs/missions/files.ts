import type { Board, BoardEntry } from './board.ts';
import type { MissionIdentity } from './envelope.ts';
import { parseFrontMatter } from './front-matter.ts';
import { accept, isFilled, isObject, refuse, type Result } from './result.ts';
import { compareText, type HistoryEntry } from './state.ts';

const SLUG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const TASK_FILE = /^(WP\d{2,})(-.*)?\.md$/;

/** Folders and files of a mission, relative to the repository's root. Source: reference §1.5. */
export function layoutOf(slug: string) {
  const root = `kitty-specs/${slug}`;
  return {
    root,
    meta: `${root}/meta.json`,
    tasks: `${root}/tasks.md`,
    taskFolder: `${root}/tasks`,
    events: `${root}/status.events.jsonl`,
    status: `${root}/status.json`,
    lanes: `${root}/lanes.json`,
    workflowEvidence: `${root}/workflow-evidence.md`,
  };
}

/** Takes `--mission`: a folder's name and nothing that could lead out of kitty-specs/. */
export function parseSelector(text: string): Result<string> {
  const isName = SLUG.test(text) && !text.includes('..') && !text.endsWith('.lock');
  return isName ? accept(text) : refuse('MISSION_NOT_FOUND', { mission: text.slice(0, 200) });
}

/** The file of each work package among the names in tasks/: `WPxx.md`, else the first `WPxx-….md`. */
export function taskFiles(names: readonly string[]): Map<string, string> {
  const files = new Map<string, string>();
  for (const name of [...names].sort(compareText)) {
    const [, wpId, title] = TASK_FILE.exec(name) ?? [];
    if (wpId === undefined) continue;
    if (title === undefined || !files.has(wpId)) files.set(wpId, name);
  }
  return files;
}

/** What a work package's file says; a list that is none is empty. */
export function parseTaskFile(
  wpId: string,
  text: string,
): BoardEntry & { subtasks: readonly string[]; executionMode: string } {
  const values = parseFrontMatter(text)?.values;
  const list = (key: string): string[] => {
    const value = values?.get(key);
    return Array.isArray(value) ? value : [];
  };
  const title = values?.get('title');
  const mode = values?.get('execution_mode');
  return {
    wp_id: wpId,
    title: isFilled(title) ? title : wpId,
    dependencies: list('dependencies'),
    subtasks: list('subtasks'),
    executionMode: isFilled(mode) ? mode : 'code_change',
  };
}

/** The fields of meta.json that rules look at; the file keeps all others. */
export type Meta = Readonly<Record<string, unknown>>;

/** Reads meta.json; undefined: it is no JSON object. */
export function parseMeta(text: string): Meta | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    // A mission without usable metadata still has its slug and its work packages.
    return undefined;
  }
}

/** The three mission fields: from meta.json, the number else from the slug, else `000`. */
export function identityOf(slug: string, meta: Meta | undefined): MissionIdentity {
  const { mission_number: number, mission_type: type } = meta ?? {};
  const given = Number.isSafeInteger(number) ? String(number) : number;
  return {
    mission_slug: slug,
    mission_number: isFilled(given) ? given : (/^(\d+)-/.exec(slug)?.[1] ?? '000'),
    mission_type: isFilled(type) ? type : 'software-dev',
  };
}

/** Makes a board of the files' texts. */
export function boardOf(
  slug: string,
  meta: Meta | undefined,
  tasks: ReadonlyMap<string, string>,
): Board {
  const target = meta?.merge_target_branch ?? meta?.target_branch;
  return {
    identity: identityOf(slug, meta),
    targetBranch: isFilled(target) ? target : null,
    wps: [...tasks]
      .map(([wpId, text]) => {
        const { wp_id, title, dependencies } = parseTaskFile(wpId, text);
        return { wp_id, title, dependencies };
      })
      .sort((a, b) => compareText(a.wp_id, b.wp_id)),
  };
}

const ACCEPTANCES_MAX = 20;

/** meta.json after an acceptance: the newest one, and a history of the last 20. */
export function withAcceptance(meta: Meta, acceptedBy: string, at: string): Meta {
  const entry = { accepted_at: at, accepted_by: acceptedBy, acceptance_mode: 'orchestrator' };
  const before = Array.isArray(meta.acceptance_history)
    ? (meta.acceptance_history as unknown[])
    : [];
  const known = before.some((item) => isObject(item) && item.accepted_at === at);
  const history = known ? before : [...before, entry];
  return { ...meta, ...entry, acceptance_history: history.slice(-ACCEPTANCES_MAX) };
}

/** meta.json as text: no legacy keys, two spaces, a line break at the end. */
export function renderMeta(meta: Meta): string {
  const kept = Object.entries(meta).filter(([key]) => !key.startsWith('feature_'));
  return `${JSON.stringify(Object.fromEntries(kept), null, 2)}\n`;
}

/** Open boxes in the part of tasks.md under the headings that name the work package. */
export function openSubtasks(tasksMd: string | undefined, wpId: string): string[] {
  return sectionLines(tasksMd ?? '', wpId).filter((line) => /^\s*[-*] \[ \]/.test(line));
}

/** How many boxes of a work package in tasks.md are open and how many are ticked. */
export function subtaskCounts(tasksMd: string, wpId: string): { open: number; done: number } {
  const ticked = sectionLines(tasksMd, wpId).filter((line) => /^\s*[-*] \[[xX]\]/.test(line));
  return { open: openSubtasks(tasksMd, wpId).length, done: ticked.length };
}

function sectionLines(text: string, wpId: string): string[] {
  const names = new RegExp(`\\b${wpId}\\b`);
  let depth = 0;
  const lines: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    const level = /^(#{1,6})\s/.exec(line)?.[1]?.length;
    if (level !== undefined) {
      if (level >= 2 && names.test(line)) depth = level;
      else if (depth > 0 && level <= depth) depth = 0;
    }
    if (depth > 0) lines.push(line);
  }
  return lines;
}

/** tasks.md with the box of a subtask ticked or unticked; undefined: there is no such box. */
export function tickSubtask(tasksMd: string, subtask: string, done: boolean): string | undefined {
  if (!/^[A-Za-z0-9_.-]+$/.test(subtask)) return undefined;
  const id = subtask.replaceAll('.', '\\.');
  const box = new RegExp(`^(\\s*[-*] \\[)[ xX](\\]\\s+(?:\\*\\*)?${id}(?![A-Za-z0-9_-]).*)$`, 'm');
  if (!box.test(tasksMd)) return undefined;
  return tasksMd.replace(
    box,
    (_line, before: string, after: string) => `${before}${done ? 'x' : ' '}${after}`,
  );
}

const ACTIVITY = /^## Activity Log[ \t]*\r?$/m;

/** The line of a history entry. A line break in a note would end the entry, so it is indented. */
export function activityLine(entry: Pick<HistoryEntry, 'at' | 'actor' | 'note'>): string {
  const at = `${entry.at.slice(0, 19)}Z`;
  return `- [${at}] ${entry.actor}: ${entry.note.replaceAll('\n', '\n  ')}`;
}

/**
 * A work package's file with the history entries that its activity log lacks, at the log's end;
 * everything else stays byte for byte. The section is made where it is missing.
 */
export function withActivity(
  text: string,
  entries: readonly Pick<HistoryEntry, 'at' | 'actor' | 'note'>[],
): string {
  const section = ACTIVITY.exec(text);
  const [before, log, after] = section === null ? [text, '', ''] : splitLog(text, section);
  const rest = new Map<string, number>();
  for (const line of entries.map(activityLine)) rest.set(line, (rest.get(line) ?? 0) + 1);
  const missing: string[] = [];
  for (const [line, wanted] of rest) {
    const present = occurrences(`\n${log}\n`, `\n${line}\n`);
    for (let i = present; i < wanted; i += 1) missing.push(line);
  }
  if (missing.length === 0) return text;
  if (section === null) {
    const gap =
      before === '' || before.endsWith('\n\n') ? '' : before.endsWith('\n') ? '\n' : '\n\n';
    return `${before}${gap}## Activity Log\n\n${missing.join('\n')}\n`;
  }
  const kept = log.replace(/\s+$/, '');
  const tail = after === '' ? '\n' : `\n\n${after}`;
  return `${before}${kept}${kept.endsWith('Log') ? '\n\n' : '\n'}${missing.join('\n')}${tail}`;
}

/** Before the section, the section with its heading, and what follows from the next heading on. */
function splitLog(text: string, section: RegExpExecArray): [string, string, string] {
  const start = section.index;
  const bodyAt = start + section[0].length;
  const next = /^#{1,2} /m.exec(text.slice(bodyAt));
  const end = next === null ? text.length : bodyAt + next.index;
  return [text.slice(0, start), text.slice(start, end), text.slice(end)];
}

function occurrences(text: string, part: string): number {
  let count = 0;
  // Two equal lines after one another share the line break between them.
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length - 1))
    count += 1;
  return count;
}
