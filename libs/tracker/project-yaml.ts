import { invalid } from '#libs/contracts';

/** What a project is bound to, as .kittify/config.yaml keeps it under `tracker`. */
export type StoredBinding = {
  provider: string;
  binding_ref: string;
  /** What a person calls it; null: the tracker gave no name. */
  display_label: string | null;
};

const KEYS = ['provider', 'binding_ref', 'display_label'] as const;
const FIELD = '.kittify/config.yaml';

/** The lines of the `tracker` block: the header's number, and its children's below. */
type Block = { header: number; end: number; indent: string };

/**
 * The binding in the text of a .kittify/config.yaml; undefined: it has none, or not all of it.
 * @throws {INVALID_REQUEST} `tracker` is written in a way that is not read here
 */
export function bindingIn(yaml: string): StoredBinding | undefined {
  const { lines } = linesOf(yaml);
  const block = findBlock(lines);
  if (block === undefined) return undefined;
  const value = (key: string): string | null => {
    const at = childOf(lines, block, key);
    return at === undefined ? null : scalarOf(lines, at.start, at.end);
  };
  const [provider, binding_ref] = [value('provider'), value('binding_ref')];
  if (provider === null || binding_ref === null) return undefined;
  return { provider, binding_ref, display_label: value('display_label') };
}

/**
 * The text with this binding, or with none. Every other line stays as it is.
 * @throws {INVALID_REQUEST} the text is written in a way that cannot be edited line by line
 */
export function withBinding(yaml: string, binding: StoredBinding | undefined): string {
  const { lines, eol } = linesOf(yaml);
  const block = findBlock(lines);
  const entries = binding === undefined ? [] : KEYS.map((key) => [key, binding[key]] as const);
  if (block === undefined) {
    if (entries.length === 0) return yaml;
    const added = ['tracker:', ...entries.map(([key, value]) => `  ${key}: ${quoted(value)}`)];
    while (lines.at(-1) === '') lines.pop();
    return [...lines, ...added, ''].join(eol);
  }
  for (const key of KEYS) {
    const at = childOf(lines, block, key);
    if (at === undefined) continue;
    lines.splice(at.start, at.end - at.start);
    block.end -= at.end - at.start;
  }
  const own = entries.map(([key, value]) => `${block.indent}${key}: ${quoted(value)}`);
  const rest = lines.slice(block.header + 1, block.end);
  const isEmpty = own.length === 0 && rest.every((line) => line.trim() === '');
  const head = isEmpty ? [] : [(lines[block.header] ?? '').replace(/:\s*(null|~|\{\s*\})/, ':')];
  lines.splice(block.header, block.end - block.header, ...head, ...own, ...(isEmpty ? [] : rest));
  return lines.join(eol);
}

function linesOf(yaml: string): { lines: string[]; eol: string } {
  return { lines: yaml.split(/\r?\n/), eol: yaml.includes('\r\n') ? '\r\n' : '\n' };
}

function findBlock(lines: readonly string[]): Block | undefined {
  const tops = lines.flatMap((line, at) => (isTop(line) ? [at] : []));
  const first = tops.find((at) => !/^(---|%)/.test(lines[at] ?? ''));
  // One mapping in block style, in one document: what these programs write.
  const odd = tops.find((at) => {
    const line = lines[at] ?? '';
    const isLaterDocument = /^(---|\.\.\.)/.test(line) && first !== undefined && at > first;
    return isLaterDocument || /^[[{]/.test(line) || /^--- *\S/.test(line);
  });
  if (odd !== undefined) throw unread(`line ${odd + 1} is not of one mapping in block style`);
  const headers = tops.filter((at) => /^(['"]?)tracker\1\s*:(\s|$)/.test(lines[at] ?? ''));
  const [header, another] = headers;
  if (header === undefined) return undefined;
  if (another !== undefined) throw unread(`tracker is there twice (line ${another + 1})`);
  const value = (lines[header] ?? '').replace(/^[^:]*:/, '').replace(/(^|\s)#.*$/, '');
  if (!/^\s*(null|~|\{\s*\})?\s*$/.test(value)) throw unread('tracker is no block of keys');
  const next = tops.find((at) => at > header);
  if (next !== undefined && /^-\s/.test(lines[next] ?? '')) throw unread('tracker is a list');
  let end = header + 1;
  for (let at = end; at < (next ?? lines.length); at += 1) {
    if (/^\s+\S/.test(lines[at] ?? '')) end = at + 1;
  }
  const children = lines.slice(header + 1, end).filter((line) => /^\s+[^\s#]/.test(line));
  const indent = /^\s*/.exec(children[0] ?? '  ')?.[0] ?? '  ';
  if (indent.includes('\t')) throw unread('tracker is indented with tabs');
  return { header, end, indent };
}

/** A line at the margin that says something. */
function isTop(line: string): boolean {
  return /^[^\s#]/.test(line);
}

/** The lines of a key of the block, those of a value that goes on below included. */
function childOf(
  lines: readonly string[],
  { header, end, indent }: Block,
  key: string,
): { start: number; end: number } | undefined {
  const name = new RegExp(`^${indent}(['"]?)${key}\\1\\s*:(\\s|$)`);
  const found = lines.flatMap((line, at) =>
    at > header && at < end && name.test(line) ? [at] : [],
  );
  const [start] = found;
  if (start === undefined) return undefined;
  if (found.length > 1) throw unread(`tracker.${key} is there twice`);
  let after = start + 1;
  while (after < end && (lines[after] ?? '').startsWith(`${indent} `)) after += 1;
  return { start, end: after };
}

function scalarOf(lines: readonly string[], start: number, end: number): string | null {
  const text = (lines[start] ?? '').replace(/^[^:]*:\s*/, '').trimEnd();
  if (end > start + 1 || /^[|>&*![{]/.test(text)) {
    throw unread(`line ${start + 1} has no value on one line`);
  }
  const double = /^"(?:[^"\\]|\\.)*"/.exec(text)?.[0];
  if (double !== undefined) return fromJson(double, start);
  const single = /^'((?:[^']|'')*)'/.exec(text)?.[1];
  if (single !== undefined) return single.replaceAll("''", "'");
  const plain = text.replace(/(^|\s+)#.*$/, '');
  return ['', '~', 'null', 'Null', 'NULL'].includes(plain) ? null : plain;
}

/** YAML has escapes that JSON has not; nobody writes them here. */
function fromJson(text: string, line: number): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    throw unread(`line ${line + 1} has a text with escapes that are not known here`);
  }
}

/** JSON's texts are YAML's, but for characters that YAML takes for the end of a line. */
function quoted(value: string | null): string {
  if (value === null) return 'null';
  const odd = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;
  const escape = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(value).replace(odd, escape);
}

function unread(reason: string): Error {
  return invalid(FIELD, `cannot be used: ${reason}`);
}
