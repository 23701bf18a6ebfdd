import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/**
 * Processes, other than this one, whose command line, folder or environment names `folder`; each as
 * its pid and command line. Linux only: elsewhere none are found.
 */
export function processesAt(folder: string): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      const command = readOrNothing(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
      const cwd = readOrNothing(() => readlinkSync(`/proc/${pid}/cwd`));
      const environment = readOrNothing(() => readFileSync(`/proc/${pid}/environ`, 'utf8'));
      const isThere = [command, cwd, environment].some((text) => text.includes(folder));
      return isThere ? [`${pid} ${command.replaceAll('\0', ' ').trim().slice(0, 300)}`] : [];
    });
}

/** A process may end, or be another user's, while it is looked at. */
function readOrNothing(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
