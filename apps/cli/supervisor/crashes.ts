const CRASHES_MAX = 5;
const WINDOW_MS = 30_000;
const DELAY_MS = 100;

/** What to do about a process that ended by itself. */
export type Verdict = { giveUp: true } | { giveUp: false; delayMs: number };

/**
 * Judges crashes: restart after 100 ms, then twice as long each time; the fifth within 30 s ends
 * it. Each call tells of one crash at `nowMs`.
 */
export function crashCounter(): (nowMs: number) => Verdict {
  let crashes: number[] = [];
  return (nowMs) => {
    crashes = [...crashes.filter((at) => nowMs - at < WINDOW_MS), nowMs];
    if (crashes.length >= CRASHES_MAX) return { giveUp: true };
    return { giveUp: false, delayMs: DELAY_MS * 2 ** (crashes.length - 1) };
  };
}

/** What is said when it is given up. */
export const GIVEN_UP = `ended ${CRASHES_MAX} times within ${WINDOW_MS / 1_000} s`;
