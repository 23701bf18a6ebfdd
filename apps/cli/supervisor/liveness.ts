const CHECK_EVERY_MS = 1_000;
/** Until it is ready, a process loads code and opens files, which it may do in one go. */
const START_FACTOR = 5;

/** What is known of a process that gives signs of life. */
export type Silence = {
  nowMs: number;
  lastBeatMs: number;
  /** How much of the time since then the supervisor itself stood still, or its machine slept. */
  lateMs: number;
  /** 0: it may be silent for ever. */
  limitMs: number;
};

/** True where a process was silent for longer than its limit while it could have been heard. */
export function isHung({ nowMs, lastBeatMs, lateMs, limitMs }: Silence): boolean {
  return limitMs > 0 && nowMs - lastBeatMs - lateMs > limitMs;
}

/** The ear of a supervisor for one process. */
export type Watch = {
  /** It gave a sign of life. */
  beat(): void;
  /** It is ready: from now on `limitMs` holds, before it was five times as much. */
  ready(): void;
  end(): void;
};

/**
 * Watches a process that has just been started.
 * @param limitMs longest silence; 0: any
 * @param onHung called at most once, with what is wrong
 */
export function watchBeats(limitMs: number, onHung: (reason: string) => void): Watch {
  let lastBeatMs = performance.now();
  let lastCheckMs = lastBeatMs;
  let lateMs = 0;
  let limit = limitMs * START_FACTOR;
  const beat = (): void => {
    lastBeatMs = performance.now();
    lateMs = 0;
  };
  const timer = setInterval(() => {
    const nowMs = performance.now();
    // Beats that came while we stood still are read after this.
    lateMs += Math.max(0, nowMs - Math.max(lastCheckMs + CHECK_EVERY_MS, lastBeatMs));
    lastCheckMs = nowMs;
    if (!isHung({ nowMs, lastBeatMs, lateMs, limitMs: limit })) return;
    clearInterval(timer);
    onHung(`it gave no sign of life for ${limit / 1_000} s (IRONCLAW_HANG_MS)`);
  }, CHECK_EVERY_MS);
  return {
    beat,
    ready: () => {
      beat();
      limit = limitMs;
    },
    end: () => clearInterval(timer),
  };
}
