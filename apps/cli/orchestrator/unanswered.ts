import { createHash } from 'node:crypto';
import { replaceFile } from './mirror.ts';
import { readOptional } from './repository.ts';

/** Calls of which no outcome is known that are kept; the oldest give way. */
const KEPT_MAX = 100;

type Call = { call: string; id: string };

/**
 * Ids of calls whose caller was given no outcome, as the broker was away or the process was killed.
 * The same call again is the same attempt and gets the same id; after an outcome it is a new one.
 * Whoever uses it holds the repository's mirror lock, so no such call is still under way.
 * @param path of the file that keeps them; a corrupt one is as none
 */
export function unansweredCalls(path: string) {
  const read = (): Call[] => {
    try {
      const value = JSON.parse(readOptional(path) ?? '[]') as unknown;
      return Array.isArray(value) ? value.filter(isCall) : [];
    } catch (error) {
      if (error instanceof SyntaxError) return [];
      throw error;
    }
  };
  const write = (calls: readonly Call[]): void =>
    replaceFile(path, `${JSON.stringify(calls.slice(-KEPT_MAX))}\n`);
  return {
    /** The id of an earlier try of the call; undefined: it is new. */
    earlier: (...call: string[]): string | undefined =>
      read().find((one) => one.call === digest(call))?.id,
    begin(id: string, ...call: string[]): void {
      write([...read().filter((one) => one.call !== digest(call)), { call: digest(call), id }]);
    },
    end(...call: string[]): void {
      write(read().filter((one) => one.call !== digest(call)));
    },
  };
}

function isCall(value: unknown): value is Call {
  const { call, id } = (value ?? {}) as Partial<Call>;
  return typeof call === 'string' && typeof id === 'string';
}

function digest(call: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(call)).digest('hex');
}
