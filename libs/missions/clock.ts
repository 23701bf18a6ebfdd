/** The local clock after an event was emitted; the event carries this value. */
export function tick(local: number): number {
  return local + 1;
}

/** The local clock after an event with `remote` was received. */
export function receive(local: number, remote: number): number {
  return Math.max(local, remote) + 1;
}

/** Reads what a clock file holds; anything else than a clock counts as 0. */
export function parseClock(text: string): number {
  try {
    const value = (JSON.parse(text) as { value?: unknown } | null)?.value;
    return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : 0;
  } catch {
    // Reference §2: a corrupt file starts the clock at 0; the mission's own clock lifts it again.
    return 0;
  }
}
