import { invalid } from '#libs/contracts';

/**
 * A place in a list: go on after the row with key `key` (`next`), or back before it (`prev`), in
 * the list's own direction.
 */
export type Cursor = { side: 'next' | 'prev'; key: number };

/** @throws {INVALID_REQUEST} text that no list gave out */
export function parseCursor(text: string | undefined): Cursor | undefined {
  if (text === undefined) return undefined;
  const match = /^([np])(\d{1,16})$/.exec(text);
  const key = Number(match?.[2]);
  if (match === null || !Number.isSafeInteger(key)) {
    throw invalid('cursor', 'is not a cursor that this list gave');
  }
  return { side: match[1] === 'n' ? 'next' : 'prev', key };
}

export function formatCursor({ side, key }: Cursor): string {
  return `${side === 'next' ? 'n' : 'p'}${key}`;
}
