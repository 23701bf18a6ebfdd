import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** A process of the bench that answers questions. */
export type Child = {
  readonly pid: number;
  /** Rejects if the process fails at it, or ends. */
  ask<T>(question: string, input?: unknown): Promise<T>;
  close(): Promise<void>;
};

type Question = { id: number; question: string; input: unknown };
type Answer = { id: number; value?: unknown; error?: string };

const START_MS = 90_000;
const READY = 0;

/**
 * Starts a program that calls `answerParent`. It inherits our flags, so that `--cpu-prof` profiles
 * it too, but no more of the environment than PATH and HOME.
 */
export async function startChild(file: string, env: Record<string, string>): Promise<Child> {
  const { PATH = '', HOME = '' } = process.env;
  const child = fork(file, {
    env: { PATH, HOME, ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let asked = READY;
  const expectAnswer = (id: number): Promise<unknown> => {
    const answer = Promise.withResolvers<unknown>();
    waiting.set(id, answer);
    return answer.promise;
  };
  child.on('message', ({ id, value, error }: Answer) => {
    const answer = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) answer?.resolve(value);
    else answer?.reject(new Error(`${file}: ${error}`));
  });
  child.once('exit', (code, signal) => {
    const reason = new Error(`${file} ended (${signal ?? `exit code ${code}`})`);
    for (const answer of waiting.values()) answer.reject(reason);
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MS);
  await expectAnswer(READY);
  clearTimeout(timer);
  return {
    pid: child.pid as number,
    ask: async <T>(question: string, input?: unknown) => {
      asked += 1;
      const answer = expectAnswer(asked);
      child.send({ id: asked, question, input } satisfies Question);
      return (await answer) as T;
    },
    close: () => end(child),
  };
}

const END_MS = 15_000;

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
  child.disconnect();
  await gone;
  clearTimeout(timer);
}

/** In the child: answers the parent's questions, and ends when the parent does. */
export function answerParent(answers: Readonly<Record<string, (input: never) => unknown>>): void {
  const tell = (answer: Answer): void => void process.send?.(answer);
  const answerOne = async ({ id, question, input }: Question): Promise<void> => {
    try {
      const answer = answers[question];
      if (answer === undefined) throw new Error(`it cannot answer ${question}`);
      tell({ id, value: await answer(input as never) });
    } catch (error) {
      tell({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  };
  process.on('message', (question: Question) => void answerOne(question));
  // Not a clean stop: what it leaves lies in a folder that is removed.
  process.once('disconnect', () => process.exit(0));
  tell({ id: READY });
}
