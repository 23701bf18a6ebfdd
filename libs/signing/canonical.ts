import { AppError, invalid, LIMITS } from '#libs/contracts';

/** A body as it was signed: its value, and the text that the signature covers. */
export type SignedBody = { readonly value: unknown; readonly canonical: string };

/**
 * The text that a signature covers: the keys of every object in the order of their UTF-16 code
 * units, but keys that are array indexes (0 to 4294967294) first and by number; arrays as they are;
 * no blanks; numbers and text as `JSON.stringify` writes them.
 * @param value as `JSON.parse` gives it
 * @throws {INVALID_REQUEST} nested deeper than LIMITS.signedDepth, or a member named `__proto__`
 */
export function canonicalize(value: unknown): string {
  return JSON.stringify(ordered(value, 0, { members: 0 })) as string;
}

/**
 * Reads a signed body as the original does: UTF-8, invalid bytes become U+FFFD, a byte order mark
 * is dropped. Content that no signature could cover is refused: `__proto__`, which vanishes from the
 * original's canonical form, and all but the last of members with one name.
 * @throws {INVALID_JSON} not one JSON value
 * @throws {INVALID_REQUEST} too deep, `__proto__`, a repeated member
 */
export function parseSigned(bytes: Uint8Array): SignedBody {
  const text = decoder.decode(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new AppError('INVALID_JSON', { reason: (error as Error).message }, { cause: error });
  }
  const count = { members: 0 };
  const rebuilt = ordered(value, 0, count);
  if (membersIn(text) !== count.members) {
    throw invalid('body', 'has a member twice, of which the signature covers only the last');
  }
  return { value, canonical: JSON.stringify(rebuilt) };
}

const decoder = new TextDecoder();

/** A copy whose members are in order: an object's own order puts index-like keys first by itself. */
function ordered(value: unknown, depth: number, count: { members: number }): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= LIMITS.signedDepth) {
    throw invalid('body', `is nested deeper than ${LIMITS.signedDepth}`);
  }
  if (Array.isArray(value)) return value.map((item) => ordered(item, depth + 1, count));
  const given = value as Record<string, unknown>;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(given).sort()) {
    if (key === '__proto__')
      throw invalid('body', 'has a member __proto__, which cannot be signed');
    count.members += 1;
    copy[key] = ordered(given[key], depth + 1, count);
  }
  return copy;
}

/** How many members a valid JSON text writes: strings that a colon follows. */
function membersIn(text: string): number {
  let members = 0;
  let at = text.indexOf('"');
  while (at !== -1) {
    let end = text.indexOf('"', at + 1);
    while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
    let next = end + 1;
    while (BLANKS.has(text.charCodeAt(next))) next += 1;
    if (text[next] === ':') members += 1;
    at = text.indexOf('"', next);
  }
  return members;
}

/** Blank, tab, line feed, carriage return. */
const BLANKS = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** True if an odd number of backslashes stands before `at`. */
function isEscaped(text: string, at: number): boolean {
  let from = at;
  while (text[from - 1] === '\\') from -= 1;
  return (at - from) % 2 === 1;
}
