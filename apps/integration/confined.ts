import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export type ConfinedCommand = {
  /** Program and arguments, as they are started. */
  argv: readonly string[];
  cwd: string;
  /** The whole environment. */
  env: Readonly<Record<string, string>>;
  timeoutMs: number;
  maxOutputBytes: number;
  /** Bytes at the end of the output that are kept. */
  tailBytes: number;
  /** Ends the command; the call then rejects with its reason. */
  signal?: AbortSignal;
};

export type ConfinedEnd = {
  /** Why it ended: by itself, or killed as it was over a limit. `not-started`: no such program. */
  end: 'exit' | 'timeout' | 'output' | 'not-started';
  exitCode: number | null;
  killedBy: string | null;
  durationMs: number;
  /** Of both outputs together, as they came; up to the limit. */
  outputBytes: number;
  outputSha256: string;
  tail: string;
};

/** What still holds the output open after the command has ended is not waited for longer. */
const DRAIN_MS = 1_000;

/**
 * Runs one command in a process group of its own, at low priority, and kills the whole group when
 * it has ended or gone over a limit.
 */
export async function runConfined(command: ConfinedCommand): Promise<ConfinedEnd> {
  const { signal } = command;
  signal?.throwIfAborted();
  const startedAt = performance.now();
  const [program = '', ...args] = command.argv;
  const child = spawn(program, args, {
    cwd: command.cwd,
    env: command.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let over: 'timeout' | 'output' | undefined;
  const stop = (why: typeof over): void => {
    over ??= why;
    killGroup(child);
  };
  const output = collect(child, command, () => stop('output'));
  const timer = setTimeout(() => stop('timeout'), command.timeoutMs);
  const onAbort = () => stop(undefined);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
    const ended = await endOf(child);
    killGroup(child);
    if (ended.started) await Promise.race([closed, sleep(DRAIN_MS)]);
    signal?.throwIfAborted();
    const end = over ?? (ended.started ? 'exit' : 'not-started');
    const { exitCode, killedBy } = ended;
    const durationMs = Math.round(performance.now() - startedAt);
    return { end, exitCode, killedBy, durationMs, ...output() };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    killGroup(child);
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

type Ended = { started: boolean; exitCode: number | null; killedBy: string | null };

async function endOf(child: ChildProcess): Promise<Ended> {
  lowerPriority(child);
  return new Promise((resolve) => {
    // Listens for good: a failed kill is an error too, and must not end this process.
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) {
        resolve({ started: false, exitCode: null, killedBy: error.code ?? null });
      }
    });
    child.once('exit', (exitCode, killedBy) => resolve({ started: true, exitCode, killedBy }));
  });
}

function lowerPriority({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SYSTEM_ERROR') throw error;
    // It has ended already, or the host forbids it: the limits hold all the same.
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // Nobody of the group is left, or only what has died and was not collected yet.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}

function collect(child: ChildProcess, limits: ConfinedCommand, onOver: () => void) {
  const { maxOutputBytes, tailBytes } = limits;
  const hash = createHash('sha256');
  let tail = Buffer.alloc(0);
  let outputBytes = 0;
  const take = (chunk: Buffer): void => {
    const fits = chunk.subarray(0, maxOutputBytes - outputBytes);
    if (fits.length > 0) {
      hash.update(fits);
      outputBytes += fits.length;
      tail = Buffer.concat([tail, fits]).subarray(-tailBytes);
    }
    if (fits.length < chunk.length) onOver();
  };
  child.stdout?.on('data', take);
  child.stderr?.on('data', take);
  return () => ({ outputBytes, outputSha256: hash.copy().digest('hex'), tail: tail.toString() });
}
