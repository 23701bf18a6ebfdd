import { AppError, invalid } from './errors.ts';
import { LIMITS } from './limits.ts';

const HOSTILE_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * Refuses JSON values that are too deep, too many, or carry keys or numbers that cannot be kept.
 * @throws {INVALID_REQUEST} hostile key, unsafe integer, too deep · {PAYLOAD_TOO_LARGE} too many values
 */
export function checkJson(value: unknown, at: string): void {
  let nodes = 0;
  const visit = (node: unknown, path: string, depth: number): void => {
    nodes += 1;
    if (nodes > LIMITS.jsonNodes) {
      throw new AppError(
        'PAYLOAD_TOO_LARGE',
        { what: 'number of JSON values', limit: LIMITS.jsonNodes },
        { field: at },
      );
    }
    if (typeof node === 'number' && Number.isInteger(node) && !Number.isSafeInteger(node)) {
      throw invalid(path, 'is an integer beyond 2^53; send it as a string');
    }
    if (typeof node !== 'object' || node === null) return;
    if (depth >= LIMITS.jsonDepth) throw invalid(at, `is nested deeper than ${LIMITS.jsonDepth}`);
    if (Array.isArray(node)) {
      for (let i = 0; i < node.length; i += 1) visit(node[i], `${path}[${i}]`, depth + 1);
      return;
    }
    for (const key of Object.keys(node)) {
      if (HOSTILE_KEYS.has(key)) throw invalid(`${path}.${key}`, 'is not an allowed key');
      visit((node as Record<string, unknown>)[key], `${path}.${key}`, depth + 1);
    }
  };
  visit(value, at, 0);
}
