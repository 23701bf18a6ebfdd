import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AppError, fromErrorBody } from '#libs/contracts';
import type { Env } from '../env.ts';
import { EXIT, Failure } from '../failure.ts';
import { crashCounter, GIVEN_UP } from './crashes.ts';
import { watchBeats } from './liveness.ts';
import type { LogFile } from './log-file.ts';
import { type ChildMessage, SUPERVISED } from './messages.ts';

const MAIN = join(import.meta.dirname, '..', 'main.ts');

export type ChildSpec = {
  /** As `worker-1`. */
  name: string;
  /** What Node runs; default: `ironclaw`. */
  program?: string;
  /** Arguments after `ironclaw`; `url` is what its last start told, if any. */
  args: (url: string | null) => readonly string[];
  /** Its environment at the `start`th start, from 1. */
  env: (start: number) => Env;
  log: LogFile;
  /** It is killed, and started again, after so long without a sign of life; 0: never. */
  hangMs: number;
  /** One line about what happened to it. */
  onNotice: (line: string) => void;
  /** It will not be started again; called at most once. */
  onGiveUp: (error: Error) => void;
};

/** A role process that is started again when it ends by itself, or hangs. */
export type Child = {
  readonly name: string;
  /** Of the process that runs now. */
  readonly pid: number | undefined;
  /** Resolves with the URL of its HTTP API once it has been ready; rejects where it cannot start. */
  ready: Promise<string | null>;
  /** Asks it to end, and kills it and what it started after `graceMs`. Idempotent. */
  stop(graceMs: number): Promise<void>;
  /** Kills it at once. */
  kill(): void;
};

export function superviseChild(spec: ChildSpec): Child {
  const { name, log } = spec;
  const ready = Promise.withResolvers<string | null>();
  const crashed = crashCounter();
  let running: ChildProcess | undefined;
  let starts = 0;
  let url: string | null = null;
  let wasReady = false;
  let stopping = false;
  let restart: NodeJS.Timeout | undefined;

  const giveUp = (error: Error): void => {
    stopping = true;
    ready.reject(error);
    spec.onGiveUp(error);
  };

  const start = (): void => {
    starts += 1;
    const child = launch(spec, spec.args(url), spec.env(starts));
    running = child;
    let refusal: AppError | undefined;
    let hung: string | undefined;
    const watch = watchBeats(spec.hangMs, (reason) => {
      hung = reason;
      log.write(JSON.stringify(hangRecord(name, child.pid, reason)));
      killGroup(child.pid);
    });
    child.on('message', (message: ChildMessage) => {
      if (message.type === 'failed') {
        refusal = fromErrorBody(message.error);
        return;
      }
      if (message.type === 'beat') return watch.beat();
      watch.ready();
      if (starts > 1) spec.onNotice(`${name} runs again (pid ${child.pid})`);
      url = message.url;
      wasReady = true;
      ready.resolve(url);
    });
    let ended = false;
    const end = (how: string): void => {
      if (ended) return;
      ended = true;
      running = undefined;
      watch.end();
      killGroup(child.pid);
      if (stopping) return;
      // What no second try can mend is told at once.
      if (!wasReady && refusal?.retry === 'never') return giveUp(refusal);
      const verdict = crashed(performance.now());
      if (verdict.giveUp) return giveUp(gaveUp(name, how, log, refusal));
      const why = refusal?.message ?? how;
      spec.onNotice(`${name} (pid ${child.pid}) ended: ${why}; starting it again`);
      restart = setTimeout(start, verdict.delayMs);
    };
    child.once('exit', (code, signal) => end(hung ?? signal ?? `exit code ${code}`));
    child.once('error', (error) => end(error.message));
  };
  start();
  // Whoever waits for it learns of it; nobody has to.
  ready.promise.catch(() => undefined);

  return {
    name,
    get pid() {
      return running?.pid;
    },
    ready: ready.promise,
    async stop(graceMs) {
      stopping = true;
      clearTimeout(restart);
      ready.reject(new Error(`${name} was stopped`));
      const child = running;
      if (child === undefined) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => killGroup(child.pid), graceMs);
      await exited;
      clearTimeout(timer);
    },
    kill() {
      stopping = true;
      killGroup(running?.pid);
    },
  };
}

function gaveUp(name: string, how: string, log: LogFile, cause: AppError | undefined): Failure {
  const last = cause === undefined ? how : cause.message;
  const reason = `it ${GIVEN_UP}, last with: ${last}. Its log is ${log.path}`;
  const error = new AppError('DEPENDENCY_UNAVAILABLE', { dependency: name, reason });
  return new Failure(
    error,
    EXIT.failed,
    'Look into that log, mend what it names, and start again.',
  );
}

/** As pino writes it; information only, as the notice tells of it too. */
function hangRecord(name: string, pid: number | undefined, reason: string) {
  return { level: 30, time: Date.now(), name, pid, msg: `killed: ${reason}` };
}

/**
 * A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops things in
 * order, and nothing that the process started outlives it.
 */
function launch(
  { program = MAIN, log }: ChildSpec,
  args: readonly string[],
  env: Env,
): ChildProcess {
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    env: { ...env, [SUPERVISED]: '1', LOG_FORMAT: 'json' },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    detached: process.platform !== 'win32',
    windowsHide: true,
  });
  if (child.stderr === null) throw new Error('a role process has no stderr');
  createInterface({ input: child.stderr }).on('line', (line) => log.write(line));
  return child;
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
  } catch (error) {
    // Nobody is left in it.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
