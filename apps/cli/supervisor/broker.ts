import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningBroker, type StartBrokerOptions, startBroker } from '#libs/broker';
import { AppError } from '#libs/contracts';
import { EXIT, Failure } from '../failure.ts';
import { crashCounter, GIVEN_UP } from './crashes.ts';

export type SupervisedBroker = {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
};

/**
 * Starts the broker and starts it again, on the same port, when it ends by itself.
 * @param events `onGiveUp` is called at most once
 */
export async function superviseBroker(
  options: StartBrokerOptions,
  events: { onNotice: (line: string) => void; onGiveUp: (error: Error) => void },
): Promise<SupervisedBroker> {
  let broker = await startBroker(options);
  const { url, port } = broker;
  const crashed = crashCounter();
  let stopping = false;

  const startAgain = async (): Promise<RunningBroker> => {
    for (;;) {
      const verdict = crashed(performance.now());
      if (verdict.giveUp) {
        const reason = `it ${GIVEN_UP}`;
        const error = new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'The broker', reason });
        throw new Failure(error, EXIT.failed, 'Look into log/broker.log of the state folder.');
      }
      await sleep(verdict.delayMs);
      try {
        return await startBroker({ ...options, port });
      } catch (error) {
        events.onNotice(`the broker does not start: ${(error as Error).message}`);
      }
    }
  };

  const watch = async (): Promise<void> => {
    for (;;) {
      const { code, signal } = await broker.exited;
      if (stopping) return;
      events.onNotice(`the broker ended (${signal ?? `exit code ${code}`}); starting it again`);
      // Gives the folder free, which the new one takes.
      await broker.stop();
      broker = await startAgain();
      if (stopping) await broker.stop();
      else events.onNotice(`the broker runs again (pid ${broker.pid})`);
    }
  };
  const watching = watch().catch((error: Error) => {
    if (!stopping) events.onGiveUp(error);
  });

  return {
    url,
    get pid() {
      return broker.pid;
    },
    async stop() {
      stopping = true;
      await broker.stop();
      await watching;
    },
  };
}
