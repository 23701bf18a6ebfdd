import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { AnyEvent } from '#libs/contracts';
import type { Appended } from '../append.ts';

export type Outcome = Partial<Appended> & { code?: string };

/** Another process that is about to append `event`; see appender.ts. */
export type Appending = {
  /** Lets it append, without waiting. */
  go(): void;
  outcomes(): Promise<Outcome[]>;
  /** kill -9, and waits for its end. */
  kill(): Promise<void>;
};

/** Starts the process and waits until it has connected. */
export async function startAppender(
  url: string,
  connections: number,
  event: AnyEvent,
): Promise<Appending> {
  const script = fileURLToPath(new URL('appender.ts', import.meta.url));
  const args = [script, url, String(connections), JSON.stringify(event)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.value !== 'ready') throw new Error('the appender did not start');
  return {
    go: () => void child.stdin.write('go\n'),
    outcomes: async () => {
      const line = await lines.next();
      if (line.done) throw new Error('the appender ended without an answer');
      await ended;
      return JSON.parse(line.value) as Outcome[];
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
