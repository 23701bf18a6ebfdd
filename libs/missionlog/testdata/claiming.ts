import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Another process that is about to write to the mission; see claimer.ts. */
export type Claiming = {
  /** Lets it go on, without waiting. */
  go(): void;
  answers(): Promise<string[]>;
  /** kill -9, and waits for its end. */
  kill(): Promise<void>;
};

/** Starts the process and waits until it has connected. */
export async function startClaimer(
  url: string,
  folder: string,
  what: 'claim' | 'history',
  first: number,
  count: number,
): Promise<Claiming> {
  const script = fileURLToPath(new URL('claimer.ts', import.meta.url));
  const args = [script, url, folder, what, String(first), String(count)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  if ((await lines.next()).value !== 'ready') throw new Error('the claimer did not start');
  return {
    go: () => void child.stdin.write('go\n'),
    answers: async () => {
      const line = await lines.next();
      if (line.done) throw new Error('the claimer ended without an answer');
      await ended;
      return JSON.parse(line.value) as string[];
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
