/** The middle value; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no values');
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] as number;
  if (sorted.length % 2 === 1) return upper;
  return ((sorted[(sorted.length >> 1) - 1] as number) + upper) / 2;
}

/** Rates of the raw way and of ours, measured in pairs: entry i of both in the same moment. */
export type Pairs = { raw: number[]; ours: number[] };

/** Ours over raw, pair by pair. */
export function ratiosOf({ raw, ours }: Pairs): number[] {
  return ours.map((rate, i) => rate / (raw[i] as number));
}

/** One side of a comparison: does its work once and answers its rate, in things a second. */
export type Side = () => Promise<number>;

/**
 * Measures both sides `pairs` times, one right after the other, so that both meet the same machine;
 * which goes first changes from pair to pair. `warmUp` runs before, uncounted. After `budgetMs` no
 * further pair is begun, but one is always measured.
 */
export async function inPairs(
  pairs: number,
  raw: Side,
  ours: Side,
  warmUp: () => Promise<unknown>,
  budgetMs = Number.POSITIVE_INFINITY,
): Promise<Pairs> {
  const startedAt = performance.now();
  await warmUp();
  const rates: Pairs = { raw: [], ours: [] };
  for (let pair = 0; pair < pairs; pair += 1) {
    if (pair > 0 && performance.now() - startedAt > budgetMs) break;
    const rawFirst = pair % 2 === 0;
    if (rawFirst) rates.raw.push(await raw());
    rates.ours.push(await ours());
    if (!rawFirst) rates.raw.push(await raw());
  }
  return rates;
}

/**
 * Calls `work` again and again for `durationMs`, `width` calls at once.
 * @returns calls a second, counting only the time until the last one was done
 */
export async function rateFor(
  durationMs: number,
  width: number,
  work: (index: number) => Promise<unknown>,
): Promise<number> {
  const startedAt = performance.now();
  const end = startedAt + durationMs;
  let next = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() < end) {
      const index = next;
      next += 1;
      await work(index);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return perSecond(next, performance.now() - startedAt);
}

export function perSecond(count: number, durationMs: number): number {
  return (count * 1_000) / durationMs;
}
