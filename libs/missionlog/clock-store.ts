import { parseClock, receive } from '#libs/missions';
import { readText, replaceFile } from './files.ts';

/** A Lamport clock in a file, shared by the programs of one user. */
export type ClockStore = {
  /** The clock as it was last written; 0 where the file is missing or corrupt. */
  value(): Promise<number>;
  /** Lifts the clock to at least `lamport`, that of an event just emitted. It never goes back. */
  emitted(lamport: number): Promise<void>;
  /** Takes note of an event from elsewhere: max(local, remote) + 1. */
  received(lamport: number): Promise<void>;
};

/**
 * Opens the clock at `path`. Programs that write at once may lose a step of one another; inside a
 * mission clocks still go up, because each event is decided on the mission's highest clock.
 */
export function openClock(path: string, nodeId: string, now: () => Date): ClockStore {
  const value = async (): Promise<number> => parseClock((await readText(path)) ?? '');
  const lift = async (to: number): Promise<void> => {
    const updated_at = now().toISOString();
    await replaceFile(path, `${JSON.stringify({ value: to, node_id: nodeId, updated_at })}\n`);
  };
  // One write after the other in this program.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (step: () => Promise<void>): Promise<void> => {
    const turn = last.then(step, step);
    last = turn.catch(() => undefined);
    return turn;
  };
  return {
    value,
    emitted: (lamport) =>
      inTurn(async () => {
        if (lamport > (await value())) await lift(lamport);
      }),
    received: (lamport) => inTurn(async () => lift(receive(await value(), lamport))),
  };
}
