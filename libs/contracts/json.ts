import { AppError, invalid } from './errors.ts';
import { LIMITS } from './limits.ts';

const HALF_PAIR = 'holds half of a surrogate pair';
const HOSTILE_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/** How deep and how many values may be; both count the value itself. */
export type JsonBounds = { depth: number; nodes: number };
const BOUNDS: JsonBounds = { depth: LIMITS.jsonDepth, nodes: LIMITS.jsonNodes };

/**
 * Refuses JSON values that are too deep, too many, or carry keys, numbers or text that would not
 * be kept as they are.
 * @throws {INVALID_REQUEST} hostile key, number out of range, half a surrogate pair, too deep
 * @throws {PAYLOAD_TOO_LARGE} too many values
 */
export function checkJson(value: unknown, at: string, bounds: JsonBounds = BOUNDS): void {
  let nodes = 0;
  const visit = (node: unknown, path: string, depth: number): void => {
    nodes += 1;
    if (nodes > bounds.nodes) {
      throw new AppError(
        'PAYLOAD_TOO_LARGE',
        { what: 'number of JSON values', limit: bounds.nodes },
        { field: at },
      );
    }
    if (typeof node === 'number') checkNumber(node, path);
    // UTF-8 has no half surrogate pairs: it would be stored as another text.
    if (typeof node === 'string' && !node.isWellFormed()) throw invalid(path, HALF_PAIR);
    if (typeof node !== 'object' || node === null) return;
    if (depth >= bounds.depth) throw invalid(at, `is nested deeper than ${bounds.depth}`);
    if (Array.isArray(node)) {
      for (let i = 0; i < node.length; i += 1) visit(node[i], `${path}[${i}]`, depth + 1);
      return;
    }
    for (const key of Object.keys(node)) {
      if (HOSTILE_KEYS.has(key)) throw invalid(`${path}.${key}`, 'is not an allowed key');
      if (!key.isWellFormed()) throw invalid(path, `has a key that ${HALF_PAIR}`);
      visit((node as Record<string, unknown>)[key], `${path}.${key}`, depth + 1);
    }
  };
  visit(value, at, 0);
}

function checkNumber(value: number, path: string): void {
  // JSON.parse reads 1e400 as Infinity, which would be stored as null.
  if (!Number.isFinite(value)) throw invalid(path, 'is a number beyond the range of a double');
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw invalid(path, 'is an integer beyond 2^53; send it as a string');
  }
}
