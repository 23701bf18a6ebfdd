/** One-sided 90 %: a true rate lies below the score in one case of ten. */
const Z = 1.2816;

/**
 * How good something surely is, 0 to 1: the lower end of Wilson's interval of a rate. Few cases
 * hold it down; another success never lowers it.
 * @param successes 0 to `cases`
 */
export function scoreOf(successes: number, cases: number): number {
  if (cases === 0) return 0;
  const rate = successes / cases;
  const z2 = Z * Z;
  const middle = rate + z2 / (2 * cases);
  const spread = Z * Math.sqrt((rate * (1 - rate)) / cases + z2 / (4 * cases * cases));
  return round(Math.max(0, (middle - spread) / (1 + z2 / cases)));
}

/** Four places: enough to compare, and the same text on every machine. */
export function round(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}

/** The smallest value that `share` (0 to 1) of the values do not exceed; 0 of none. */
export function percentile(ascending: readonly number[], share: number): number {
  const at = Math.max(0, Math.ceil(share * ascending.length) - 1);
  return ascending[at] ?? 0;
}
