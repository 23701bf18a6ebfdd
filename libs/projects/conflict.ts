/** How much older than the stored document a write by time may be. */
const TOLERANCE_MS = 2_000;

/**
 * Whether a write of a client that knows no revisions is taken, by `lastModified` alone: refused if
 * it is more than 2 s older than what is stored. Times that cannot be read are taken. Only for such
 * clients: of two writers within 2 s the later wins.
 */
export function acceptsByTime(stored: unknown, incoming: unknown): boolean {
  const [a, b] = [stored, incoming].map((time) =>
    typeof time === 'string' ? Date.parse(time) : Number.NaN,
  );
  if (a === undefined || b === undefined || Number.isNaN(a) || Number.isNaN(b)) return true;
  return a - b <= TOLERANCE_MS;
}
