import { lstatSync } from 'node:fs';
import { count, type Parsed, parseArgs, Usage } from './args.ts';
import {
  type Entry,
  entriesOf,
  fullPath,
  lookFor,
  Missing,
  type Place,
  readSome,
} from './files.ts';
import { isAllowed, matchesGlob } from './policy.ts';

/** What a tool wrote, line by line, and how it ended. */
export type Output = {
  /** Adds a line; false: it is full, no more is wanted. */
  line: (text: string) => boolean;
  /** Adds a remark that makes the exit code 1. */
  complain: (text: string) => void;
};

/** Runs one tool and answers its exit code. @throws {Usage} · {Missing} · {Denied} */
export type Tool = (place: Place, args: readonly string[], out: Output) => number;

/** Limits of the tools. */
const TOOL_LIMITS = {
  /** Bytes of one file that are looked at. */
  fileBytes: 4 * 1024 * 1024,
  /** Bytes of all files that one grep looks at. */
  searchBytes: 32 * 1024 * 1024,
  /** Characters of a grep pattern. */
  patternChars: 256,
  /** Files and folders visited by one call. */
  entries: 20_000,
  /** Depth of folders visited. */
  depth: 32,
  /** Lines of head and tail. */
  lines: 100_000,
} as const;

const ls: Tool = (place, args, out) => {
  const { flags, rest } = parseArgs(args, 'laR');
  const walk = walker(flags.has('R') ? TOOL_LIMITS.depth : 0);
  for (const path of rest.length > 0 ? rest : ['.']) {
    const { parts, stat } = lookFor(place, path);
    if (!stat.isDirectory()) {
      out.line(row(place, parts, path, flags));
      continue;
    }
    const many = rest.length > 1 || flags.has('R');
    walk(place, parts, (folder, entries) => {
      if (many) out.line(`${nameOf(folder)}:`);
      for (const { name } of entries) {
        if (name.startsWith('.') && !flags.has('a')) continue;
        if (!out.line(row(place, [...folder, name], name, flags))) return false;
      }
      return !many || out.line('');
    });
  }
  return 0;
};

function row(place: Place, parts: readonly string[], name: string, flags: Set<string>): string {
  if (!flags.has('l')) return name;
  const stat = lstatSync(fullPath(place, parts), { throwIfNoEntry: false });
  const kind = stat?.isDirectory() ? 'd' : stat?.isFile() ? '-' : '?';
  const time = stat?.mtime.toISOString().slice(0, 16) ?? '-';
  return `${kind} ${String(stat?.size ?? 0).padStart(9)} ${time} ${name}`;
}

const cat: Tool = (place, args, out) => {
  const { flags, rest } = parseArgs(args, 'n');
  let number = 0;
  return eachText(place, rest, out, (_, text) => {
    for (const line of linesOf(text)) {
      number += 1;
      if (!out.line(flags.has('n') ? `${String(number).padStart(6)}  ${line}` : line)) return;
    }
  });
};

const head: Tool = (place, args, out) => {
  const { values, rest } = parseArgs(args, '', 'nc');
  return eachText(place, rest, out, (path, text, bytes) => {
    if (rest.length > 1) out.line(`==> ${path} <==`);
    const chars = values.get('c');
    if (chars !== undefined) {
      out.line(bytes.subarray(0, count(chars, 0, bytes.length)).toString());
      return;
    }
    const lines = linesOf(text).slice(0, count(values.get('n'), 10, TOOL_LIMITS.lines));
    for (const line of lines) if (!out.line(line)) return;
  });
};

const tail: Tool = (place, args, out) => {
  const { values, rest } = parseArgs(args, '', 'nc');
  const show = (path: string, text: string, bytes: Buffer): void => {
    if (rest.length > 1) out.line(`==> ${path} <==`);
    const chars = values.get('c');
    if (chars !== undefined) {
      out.line(bytes.subarray(bytes.length - count(chars, 0, bytes.length)).toString());
      return;
    }
    const wanted = count(values.get('n'), 10, TOOL_LIMITS.lines);
    for (const line of wanted === 0 ? [] : linesOf(text).slice(-wanted)) {
      if (!out.line(line)) return;
    }
  };
  return eachText(place, rest, out, show, 'end');
};

const grep: Tool = (place, args, out) => {
  const parsed = parseArgs(args, 'inrcF', 'm');
  const [pattern, ...paths] = parsed.rest;
  if (pattern === undefined) throw new Usage('a pattern is needed');
  const search: Search = {
    regex: regexOf(pattern, parsed),
    most: count(parsed.values.get('m'), Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    flags: parsed.flags,
    named: paths.length !== 1 || parsed.flags.has('r'),
    left: TOOL_LIMITS.searchBytes,
    found: false,
  };
  if (paths.length === 0) {
    if (!parsed.flags.has('r')) throw new Usage('a path is needed');
    paths.push('.');
  }
  for (const path of paths) {
    const { parts, stat } = lookFor(place, path);
    if (!stat.isDirectory()) {
      grepFile(place, path, search, out);
      continue;
    }
    if (!parsed.flags.has('r')) throw new Missing(`${path}: is a folder (use -r)`);
    walker(TOOL_LIMITS.depth)(place, parts, (folder, entries) =>
      entries.every(
        ({ name, kind }) =>
          kind !== 'file' ||
          !isAllowed([...folder, name], place.allow) ||
          grepFile(place, [...folder, name].join('/'), search, out),
      ),
    );
  }
  return search.found ? 0 : 1;
};

type Search = {
  regex: RegExp;
  most: number;
  flags: Set<string>;
  named: boolean;
  left: number;
  found: boolean;
};

function regexOf(pattern: string, { flags }: Parsed): RegExp {
  if (pattern.length > TOOL_LIMITS.patternChars) {
    throw new Usage(`the pattern is longer than ${TOOL_LIMITS.patternChars} characters`);
  }
  const source = flags.has('F') ? pattern.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&') : pattern;
  try {
    return new RegExp(source, flags.has('i') ? 'i' : '');
  } catch {
    // Its only failure is the pattern.
    throw new Usage('the pattern is not a regular expression');
  }
}

/** False: nothing more is wanted. */
function grepFile(place: Place, path: string, search: Search, out: Output): boolean {
  const { bytes, size } = readSome(place, path, Math.min(TOOL_LIMITS.fileBytes, search.left));
  search.left -= bytes.length;
  const prefix = search.named ? `${path}:` : '';
  const text = bytes.toString();
  if (bytes.length < size)
    out.complain(`${path}: only the first ${bytes.length} bytes were searched`);
  if (isBinary(bytes)) {
    if (!search.regex.test(text)) return true;
    search.found = true;
    return out.line(`${path}: binary file matches`);
  }
  let hits = 0;
  for (const [index, line] of linesOf(text).entries()) {
    if (hits >= search.most) break;
    if (!search.regex.test(line)) continue;
    hits += 1;
    if (search.flags.has('c')) continue;
    const number = search.flags.has('n') ? `${index + 1}:` : '';
    if (!out.line(`${prefix}${number}${line}`)) return false;
  }
  search.found ||= hits > 0;
  return search.flags.has('c') ? out.line(`${prefix}${hits}`) : search.left > 0;
}

const find: Tool = (place, args, out) => {
  const split = args.findIndex((arg) => arg.startsWith('-'));
  const paths = split === -1 ? [...args] : args.slice(0, split);
  const { name, type, depth } = findTests(split === -1 ? [] : args.slice(split));
  const fits = (entry: Entry): boolean =>
    (type === undefined || entry.kind === type) &&
    (name === undefined || matchesGlob(entry.name, name));
  for (const path of paths.length > 0 ? paths : ['.']) {
    const { parts, stat } = lookFor(place, path);
    const kind = stat.isDirectory() ? 'folder' : 'file';
    if (fits({ name: parts.at(-1) ?? '.', kind })) out.line(nameOf(parts));
    if (kind === 'file' || depth === 0) continue;
    walker(depth - 1)(place, parts, (folder, entries) =>
      entries.every((entry) => !fits(entry) || out.line([...folder, entry.name].join('/'))),
    );
  }
  return 0;
};

function findTests(args: readonly string[]) {
  let name: string | undefined;
  let type: Entry['kind'] | undefined;
  let depth: number = TOOL_LIMITS.depth;
  for (let at = 0; at < args.length; at += 2) {
    const [test = '', value] = args.slice(at, at + 2);
    if (value === undefined) throw new Usage(`${test.slice(0, 40)} needs a value`);
    if (test === '-name') name = value;
    else if (test === '-maxdepth') depth = count(value, depth, depth);
    else if (test === '-type' && (value === 'f' || value === 'd')) {
      type = value === 'f' ? 'file' : 'folder';
    } else throw new Usage('known tests: -name PATTERN, -type f|d, -maxdepth N');
  }
  return { name, type, depth };
}

/** The tools by name. */
export const TOOLS: Readonly<Record<string, Tool>> = { ls, cat, grep, find, head, tail };

/** Walks folders in path order; `visit` answers false to end it. Links are not followed. */
function walker(depth: number) {
  let entriesLeft: number = TOOL_LIMITS.entries;
  type Visit = (folder: string[], entries: Entry[]) => boolean;
  const walk = (place: Place, parts: string[], visit: Visit, left = depth): boolean => {
    const entries = entriesOf(place, parts);
    entriesLeft -= entries.length;
    if (entriesLeft < 0) throw new Missing(`more than ${TOOL_LIMITS.entries} files and folders`);
    if (!visit(parts, entries)) return false;
    if (left === 0) return true;
    return entries.every(
      ({ name, kind }) => kind !== 'folder' || walk(place, [...parts, name], visit, left - 1),
    );
  };
  return walk;
}

/** Reads each file as text; what cannot be read is told, and the rest goes on. */
function eachText(
  place: Place,
  paths: readonly string[],
  out: Output,
  use: (path: string, text: string, bytes: Buffer) => void,
  from: 'start' | 'end' = 'start',
): number {
  if (paths.length === 0) throw new Usage('a path is needed');
  for (const path of paths) {
    try {
      const { bytes, size } = readSome(place, path, TOOL_LIMITS.fileBytes, from);
      if (isBinary(bytes)) out.line(`[${path}: binary, ${size} bytes]`);
      else use(path, bytes.toString(), bytes);
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      out.complain(error.message);
    }
  }
  return 0;
}

function isBinary(bytes: Buffer): boolean {
  return bytes.subarray(0, 8_192).includes(0);
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function nameOf(parts: readonly string[]): string {
  return parts.length === 0 ? '.' : parts.join('/');
}
