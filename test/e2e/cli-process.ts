import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LAUNCHER = fileURLToPath(new URL('../../apps/cli/ironclaw.cjs', import.meta.url));

export type Ended = { code: number | null; stdout: string; stderr: string };

/** One `ironclaw` process. */
export type Cli = {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Resolves once `text` stands in stdout; rejects if the process ends before. */
  says(text: string): Promise<void>;
  ended: Promise<Ended>;
};

/** A folder and an environment of one test's own; nothing of it outlives the test. */
export async function cliBench() {
  const dir = await mkdtemp(join(tmpdir(), 'ironclaw-cli-'));
  const started: Cli[] = [];
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(IRONCLAW|NATS|IO_INT|OPENAI|npm)_/.test(name),
    ),
  );

  const start = (args: readonly string[], more: Record<string, string> = {}): Cli => {
    const child = spawn(process.execPath, [LAUNCHER, ...args], {
      env: { ...env, IRONCLAW_STATE: join(dir, 'state'), IRONCLAW_PORT: '0', ...more },
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    const heard = new EventTarget();
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      heard.dispatchEvent(new Event('text'));
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = once(child, 'close').then(([code]) => ({
      code: code as number | null,
      stdout,
      stderr,
    }));
    const cli: Cli = {
      child,
      stdout: () => stdout,
      stderr: () => stderr,
      ended,
      says: (text) =>
        new Promise((resolve, reject) => {
          const look = () => stdout.includes(text) && resolve();
          heard.addEventListener('text', look);
          look();
          void ended.then(({ code }) =>
            reject(new Error(`ended with ${code} before it said ${text}: ${stdout}${stderr}`)),
          );
        }),
    };
    started.push(cli);
    return cli;
  };

  return {
    dir,
    state: join(dir, 'state'),
    start,
    /** Runs a command to its end. */
    run: (args: readonly string[], more?: Record<string, string>) => start(args, more).ended,
    async [Symbol.asyncDispose]() {
      for (const { child, ended } of started) {
        if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
        await ended;
      }
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Every process that came from `pid`, itself included. */
export function descendants(pid: number): number[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((row) => row.trim().split(/\s+/).map(Number) as [number, number]);
  const found = [pid];
  for (const parent of found) {
    found.push(...rows.filter(([, of]) => of === parent).map(([child]) => child));
  }
  return found;
}

/** True while the process is there; one that only waits to be collected is not. */
export function isRunning(pid: number): boolean {
  try {
    const state = execFileSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
    return !state.trim().startsWith('Z');
  } catch {
    // ps fails where there is no such process.
    return false;
  }
}
