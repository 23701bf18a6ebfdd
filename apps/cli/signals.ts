const SAME_KEY_PRESS_MS = 500;

export type Signals = {
  /** Aborted at the first Ctrl-C, SIGTERM or SIGHUP. */
  stop: AbortSignal;
  /** Aborted at a second Ctrl-C; a later SIGTERM changes nothing. */
  force: AbortSignal;
  /** Lets go of the signals. */
  release(): void;
};

/**
 * Turns signals into stop and force. npm hands Ctrl-C on to what it runs, so that one key press can
 * arrive twice: only a SIGINT half a second after the first counts as a second one.
 */
export function listenForSignals(): Signals {
  const stop = new AbortController();
  const force = new AbortController();
  let firstAt = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (!stop.signal.aborted) {
      firstAt = performance.now();
      stop.abort();
    } else if (signal === 'SIGINT' && performance.now() - firstAt > SAME_KEY_PRESS_MS) {
      force.abort();
    }
  };
  const names: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const name of names) process.on(name, onSignal);
  return {
    stop: stop.signal,
    force: force.signal,
    release() {
      for (const name of names) process.off(name, onSignal);
    },
  };
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
