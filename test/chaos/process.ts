import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';

/** How a process ended that nobody had ended. */
export type Fall = { member: string; atMs: number; how: string; reason: string; ready: boolean };

export type RoleProcess = {
  readonly name: string;
  readonly pid: number | undefined;
  /** Starts it and keeps it running, until `stop`. */
  start(): void;
  /** Resolves once it has said that it works; rejects after `timeoutMs`. */
  ready(timeoutMs: number): Promise<void>;
  /** Ends it with `signal`; it is started again after `downMs`. False: it does not run now. */
  end(signal: 'SIGKILL' | 'SIGTERM', downMs: number): boolean;
  /** Lets it stand still for so long. False: it does not run, or stands still already. */
  pause(forMs: number): boolean;
  /** Lets it go on at once if it stands still. */
  resume(): void;
  /** Asks it to end; killed after `graceMs`. Resolves with false where it had to be killed. */
  stop(graceMs: number): Promise<boolean>;
};

export type ProcessOptions = {
  name: string;
  /** Arguments of `ironclaw`. */
  args: readonly string[];
  env: Record<string, string>;
  logFile: string;
  onFall: (fall: Omit<Fall, 'atMs'>) => void;
};

/** What bin/ironclaw runs under the right Node; this process is one already. */
const MAIN = join(import.meta.dirname, '..', '..', 'apps', 'cli', 'main.ts');
/** Between two starts of a process that ends by itself. */
const FALL_DELAY_MS = 500;

/** They end with us, however we end but by kill -9; also those that stand still. */
const live = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of live) child.kill('SIGKILL');
});

type Message =
  | { type: 'ready' | 'beat' }
  | { type: 'failed'; error: { code: string; message: string } };

/**
 * One `ironclaw serve` under our hands. It knows that it is supervised: it tells us when it works,
 * and it ends when we do. What it starts is not ended with it: that is the system's own business.
 */
export function roleProcess({ name, args, env, logFile, onFall }: ProcessOptions): RoleProcess {
  let child: ChildProcess | undefined;
  let isReady = false;
  let paused: NodeJS.Timeout | undefined;
  let stopping = false;
  let restart: NodeJS.Timeout | undefined;
  /** Set while it ends because we say so. */
  let downMs: number | undefined;
  const waiting = new Set<() => void>();

  const resume = (): void => {
    if (paused === undefined) return;
    clearTimeout(paused);
    paused = undefined;
    child?.kill('SIGCONT');
  };

  const start = (): void => {
    const log = openSync(logFile, 'a');
    const own = spawn(process.execPath, [MAIN, ...args], {
      env,
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    });
    closeSync(log);
    child = own;
    live.add(own);
    isReady = false;
    downMs = undefined;
    let refusal = '';
    own.on('message', (message: Message) => {
      if (message.type === 'failed') refusal = `${message.error.code}: ${message.error.message}`;
      else if (message.type === 'ready') {
        isReady = true;
        for (const tell of waiting) tell();
      }
    });
    const ended = (how: string): void => {
      live.delete(own);
      if (child !== own) return;
      child = undefined;
      clearTimeout(paused);
      paused = undefined;
      if (stopping) return;
      if (downMs === undefined) onFall({ member: name, how, reason: refusal, ready: isReady });
      restart = setTimeout(start, downMs ?? FALL_DELAY_MS);
    };
    own.once('exit', (code, signal) => ended(signal ?? `exit code ${code}`));
    own.once('error', (error) => ended(error.message));
  };

  return {
    name,
    get pid() {
      return child?.pid;
    },
    start,
    ready: (timeoutMs) =>
      new Promise((resolve, reject) => {
        if (isReady) return resolve();
        const tell = (): void => {
          clearTimeout(timer);
          waiting.delete(tell);
          resolve();
        };
        const timer = setTimeout(() => {
          waiting.delete(tell);
          reject(new Error(`${name} is not ready after ${timeoutMs} ms; see ${logFile}`));
        }, timeoutMs);
        waiting.add(tell);
      }),
    end: (signal, ms) => {
      if (child === undefined || downMs !== undefined) return false;
      downMs = ms;
      resume();
      child.kill(signal);
      return true;
    },
    pause: (forMs) => {
      if (child === undefined || paused !== undefined || downMs !== undefined) return false;
      child.kill('SIGSTOP');
      paused = setTimeout(resume, forMs);
      return true;
    },
    resume,
    stop: async (graceMs) => {
      stopping = true;
      clearTimeout(restart);
      resume();
      const own = child;
      if (own === undefined) return true;
      const exited = once(own, 'exit');
      let killed = false;
      const timer = setTimeout(() => {
        killed = true;
        own.kill('SIGKILL');
      }, graceMs);
      own.kill('SIGTERM');
      await exited;
      clearTimeout(timer);
      return !killed;
    },
  };
}
