import { WORKTREE_LIMITS } from './limits.ts';

/**
 * Merges two texts that grew from one, line by line. Undefined if both changed the same place or
 * neighbouring lines, or if the texts differ by too many lines to tell.
 */
export function mergeText(base: string, ours: string, theirs: string): string | undefined {
  const [b, o, t] = [splitLines(base), splitLines(ours), splitLines(theirs)];
  const inOurs = matchLines(b, o);
  const inTheirs = matchLines(b, t);
  if (!inOurs || !inTheirs) return undefined;
  const merged: string[] = [];
  let [atB, atO, atT] = [0, 0, 0];
  for (;;) {
    // The next line of the base that both sides kept ends the stretch in which they may differ.
    let next = atB;
    while (next < b.length && (inOurs[next] === -1 || inTheirs[next] === -1)) next++;
    const endO = inOurs[next] ?? o.length;
    const endT = inTheirs[next] ?? t.length;
    const stretch = mergeStretch(b.slice(atB, next), o.slice(atO, endO), t.slice(atT, endT));
    if (!stretch) return undefined;
    merged.push(...stretch);
    const kept = b[next];
    if (kept === undefined) return merged.join('');
    merged.push(kept);
    [atB, atO, atT] = [next + 1, endO + 1, endT + 1];
  }
}

function mergeStretch(base: string[], ours: string[], theirs: string[]): string[] | undefined {
  if (sameLines(base, ours) || sameLines(ours, theirs)) return theirs;
  return sameLines(base, theirs) ? ours : undefined;
}

function sameLines(a: string[], b: string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i]);
}

/** The lines with their line ends. */
function splitLines(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/**
 * For each line of `a` the line of `b` that it became, or -1: a shortest edit script (Myers).
 * Undefined if that script is longer than the limit.
 */
function matchLines(a: string[], b: string[]): number[] | undefined {
  const editsMax = Math.min(a.length + b.length, WORKTREE_LIMITS.mergeTextEdits);
  // reach[k + middle]: how far into `a` the best path on diagonal k (x - y) has come.
  const middle = editsMax + 1;
  const reach = new Int32Array(2 * editsMax + 3);
  const trace: Int32Array[] = [];
  for (let edits = 0; edits <= editsMax; edits++) {
    trace.push(reach.slice(middle - edits - 1, middle + edits + 2));
    for (let k = -edits; k <= edits; k += 2) {
      const [left, right] = [at(reach, middle + k - 1), at(reach, middle + k + 1)];
      let x = k === -edits || (k !== edits && left < right) ? right : left + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      reach[middle + k] = x;
      if (x >= a.length && x - k >= b.length) return walkBack(trace, a.length, b.length);
    }
  }
  return undefined;
}

/** Follows the recorded paths from the end to the start, noting the lines that stayed. */
function walkBack(trace: Int32Array[], lengthA: number, lengthB: number): number[] {
  const matches = Array.from({ length: lengthA }, () => -1);
  let [x, y] = [lengthA, lengthB];
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const reach = trace[edits] as Int32Array;
    const middle = edits + 1;
    const k = x - y;
    const [left, right] = [at(reach, middle + k - 1), at(reach, middle + k + 1)];
    const down = k === -edits || (k !== edits && left < right);
    const fromX = edits === 0 ? 0 : down ? right : left;
    const fromY = edits === 0 ? 0 : fromX - (down ? k + 1 : k - 1);
    while (x > fromX && y > fromY) matches[--x] = --y;
    [x, y] = [fromX, fromY];
  }
  return matches;
}

function at(values: Int32Array, index: number): number {
  return values[index] ?? 0;
}
