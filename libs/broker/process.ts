import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const POLL_MS = 20;

/**
 * A text that no other process, before or after, has for this pid: boot id and start time on
 * Linux, start time elsewhere. Null if there is no such process (a zombie counts as none).
 */
export async function processIdentity(pid: number): Promise<string | null> {
  if (process.platform === 'linux') return linuxIdentity(pid);
  if (!isAlive(pid)) return null;
  if (process.platform === 'win32') return 'alive';
  const started = await run('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => null);
  return started?.stdout.trim() || null;
}

async function linuxIdentity(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The command name, in parentheses, may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()}:${fields[19]}`;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** SIGTERM, and SIGKILL if the process is still there after `graceMs`. Resolves when it is gone. */
export async function stopProcess(pid: number, identity: string, graceMs: number): Promise<void> {
  signal(pid, 'SIGTERM');
  const deadline = Date.now() + graceMs;
  let killed = false;
  while ((await processIdentity(pid)) === identity) {
    if (!killed && Date.now() >= deadline) {
      signal(pid, 'SIGKILL');
      killed = true;
    }
    await sleep(POLL_MS);
  }
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
