/** Callers that wait for a sequence. */
export type Waiters = {
  /** True once `seq` is reached; false after `timeoutMs`, when aborted, closed or too many wait. */
  wait(seq: number, timeoutMs: number, signal?: AbortSignal): Promise<boolean>;
  reached(seq: number): void;
  close(): void;
};

/** Waiting at once; the next is told no at once. */
const WAITERS_MAX = 10_000;

type Waiter = { seq: number; end: (reached: boolean) => void };

export function createWaiters(max = WAITERS_MAX): Waiters {
  const waiting = new Set<Waiter>();
  let closed = false;
  return {
    wait(seq, timeoutMs, signal) {
      if (closed || waiting.size >= max || timeoutMs <= 0 || signal?.aborted === true) {
        return Promise.resolve(false);
      }
      return new Promise((resolve) => {
        const giveUp = (): void => waiter.end(false);
        const timer = setTimeout(giveUp, timeoutMs);
        const waiter: Waiter = {
          seq,
          end(reached) {
            clearTimeout(timer);
            signal?.removeEventListener('abort', giveUp);
            waiting.delete(waiter);
            resolve(reached);
          },
        };
        signal?.addEventListener('abort', giveUp, { once: true });
        waiting.add(waiter);
      });
    },
    reached(seq) {
      for (const waiter of waiting) if (waiter.seq <= seq) waiter.end(true);
    },
    close() {
      closed = true;
      for (const waiter of waiting) waiter.end(false);
    },
  };
}
