import type { Stage } from './failure.ts';

/** Where a unit stands, and its signs of life. */
export type Stages = {
  current: () => Stage;
  enter: (stage: Stage) => void;
  /** No more signals; resolves when those on their way have been stored or given up. */
  end: () => Promise<void>;
};

/** A unit signals at most so often; what comes faster is told late or, if it has passed, not. */
const SIGNAL_MS_MIN = 250;

/** Tells each stage that lasts, through `emit`, which must not reject. */
export function createStages(emit: (stage: Stage) => Promise<void>, minMs = SIGNAL_MS_MIN): Stages {
  let stage: Stage = 'starting';
  let lastAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let sending = Promise.resolve();
  const send = () => {
    timer = undefined;
    lastAt = performance.now();
    const told = stage;
    sending = sending.then(() => emit(told));
  };
  return {
    current: () => stage,
    enter: (next) => {
      stage = next;
      const waitMs = lastAt + minMs - performance.now();
      if (timer !== undefined) return;
      if (waitMs <= 0) send();
      else timer = setTimeout(send, waitMs);
    },
    end: () => {
      clearTimeout(timer);
      return sending;
    },
  };
}
