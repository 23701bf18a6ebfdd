/** A value of front matter that is understood: text, a list of texts, or undefined for the rest. */
export type FrontValue = string | string[] | undefined;

export type FrontMatter = {
  /** Top-level keys; values of other shapes (maps, lists of maps) are undefined. */
  values: ReadonlyMap<string, FrontValue>;
  /** What follows the closing line, byte for byte. */
  body: string;
  /** Everything up to the body, byte for byte. */
  head: string;
};

const OPENING = /^\uFEFF?---[ \t]*\r?\n/;
const KEY = /^([A-Za-z_][\w-]*):(?:[ \t]+(.*?))?[ \t]*$/;
const ITEM = /^[ \t]*-[ \t]+(.*?)[ \t]*$/;
const MAP_ITEM = /^[A-Za-z_][\w-]*:(\s|$)/;

/**
 * Reads the YAML head of a Markdown file as far as missions need it; nothing is ever written back
 * from the values, so what is not understood stays as it is. Undefined: there is no head.
 */
export function parseFrontMatter(text: string): FrontMatter | undefined {
  const opening = OPENING.exec(text)?.[0];
  if (opening === undefined) return undefined;
  const closing = /^---[ \t]*(\r?\n|$)/m.exec(text.slice(opening.length));
  if (closing === null) return undefined;
  const end = opening.length + closing.index;
  const bodyAt = end + closing[0].length;
  const lines = text.slice(opening.length, end).split(/\r?\n/);
  return { values: parseLines(lines), head: text.slice(0, bodyAt), body: text.slice(bodyAt) };
}

function parseLines(lines: readonly string[]): Map<string, FrontValue> {
  const values = new Map<string, FrontValue>();
  for (let i = 0; i < lines.length; i += 1) {
    const [, key, rest = ''] = KEY.exec(lines[i] ?? '') ?? [];
    if (key === undefined) continue;
    const value = stripComment(rest);
    if (value !== '') {
      values.set(key, parseInline(value));
      continue;
    }
    let end = i + 1;
    while (end < lines.length && !KEY.test(lines[end] ?? '')) end += 1;
    values.set(key, parseBlock(lines.slice(i + 1, end)));
    i = end - 1;
  }
  return values;
}

function parseInline(value: string): FrontValue {
  if (value.startsWith('[')) {
    if (!value.endsWith(']')) return undefined;
    const inner = value.slice(1, -1).trim();
    return inner === '' ? [] : splitItems(inner).map(unquote);
  }
  if (/^[{|>&*!]/.test(value)) return undefined;
  return unquote(value);
}

function parseBlock(lines: readonly string[]): FrontValue {
  const items: string[] = [];
  for (const line of lines) {
    if (line.trim() === '' || line.trim().startsWith('#')) continue;
    const item = ITEM.exec(line)?.[1];
    if (item === undefined || MAP_ITEM.test(item)) return undefined;
    items.push(unquote(stripComment(item)));
  }
  return items.length === 0 ? '' : items;
}

/** Splits at commas outside quotes. */
function splitItems(text: string): string[] {
  return (text.match(/\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,\s][^,]*)/g) ?? [])
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function stripComment(text: string): string {
  if (/^["']/.test(text)) {
    return /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')/.exec(text)?.[0] ?? text;
  }
  return text.replace(/(^|[ \t]+)#.*$/, '').trim();
}

function unquote(text: string): string {
  if (text.startsWith("'") && text.endsWith("'") && text.length > 1) {
    return text.slice(1, -1).replaceAll("''", "'");
  }
  if (text.startsWith('"') && text.endsWith('"') && text.length > 1) {
    try {
      return JSON.parse(text) as string;
    } catch {
      // YAML escapes that JSON has not; the text is then taken as it stands.
      return text.slice(1, -1);
    }
  }
  return text === 'null' || text === '~' ? '' : text;
}
