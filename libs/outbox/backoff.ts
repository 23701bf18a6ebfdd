/** How often and how patiently a delivery is tried. */
export type DeliveryPolicy = {
  /** Attempts before a delivery is dead. */
  attemptsMax: number;
  /** Wait after the first failed attempt; doubled with each further one. */
  firstMs: number;
  /** Longest wait, also where the receiver asks for more. */
  maxMs: number;
};

/**
 * Wait after failed attempt `attempts` (from 1): doubled each time up to `maxMs`, of which between
 * half and all; `random` is in [0, 1). What the receiver asks for is the least, but for `maxMs`.
 */
export function waitMs(
  { firstMs, maxMs }: Pick<DeliveryPolicy, 'firstMs' | 'maxMs'>,
  attempts: number,
  random: number,
  retryAfterMs = 0,
): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(attempts - 1, 40));
  const jittered = Math.round(full / 2 + (full / 2) * random);
  return Math.max(jittered, Math.min(retryAfterMs, maxMs));
}
