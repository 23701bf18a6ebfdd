import { type ChildProcess, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import path from 'node:path';
import type { Role } from '#libs/contracts';

const COMMAND = path.join(import.meta.dirname, '../../apps/cli/ironclaw.cjs');
const START_MS = 90_000;

/** `ironclaw serve <role>` in a process of its own, which ends when this one does. */
export type Served = AsyncDisposable & {
  readonly role: Role;
  readonly url: string;
  /** kill -9; resolves when it is dead. */
  kill(): Promise<void>;
};

/** Starts a role alone and waits until it does its work. */
export async function serveAlone(role: Role, env: Record<string, string>): Promise<Served> {
  const child = spawn(process.execPath, [COMMAND, 'serve', role], {
    env: { ...env, IRONCLAW_SUPERVISED: '1' },
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };
  try {
    const url = await ready(role, child);
    return {
      role,
      url,
      kill: () => end('SIGKILL'),
      [Symbol.asyncDispose]: () => end('SIGKILL'),
    };
  } catch (error) {
    await end('SIGKILL');
    throw error;
  }
}

/** The URL that the process tells once it is up. */
async function ready(role: Role, child: ChildProcess): Promise<string> {
  const late = AbortSignal.timeout(START_MS);
  const ended = once(child, 'exit', { signal: late }).then(([code]) => {
    throw new Error(`${role} ended with ${code} before it was ready`);
  });
  const told = async () => {
    for await (const [message] of on(child, 'message', { signal: late })) {
      if (message.type !== 'beat') return message;
    }
  };
  const message = await Promise.race([told(), ended]);
  ended.catch(() => undefined);
  if (message.type !== 'ready') throw new Error(`${role}: ${JSON.stringify(message)}`);
  return message.url as string;
}
