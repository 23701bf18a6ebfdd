import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import { makeFolder, removeFolder } from './folders.ts';

/** What keeps a command apart from the rest of the host. */
export type Isolation = {
  /** True: own namespaces; false: a process like others, with limits and without our environment. */
  namespaces: boolean;
  /** The command line that runs `argv` so. */
  wrap: (argv: readonly string[], limits: IsolationLimits) => string[];
};

export type IsolationLimits = {
  /** The one folder that may be written to, and where inside it the command starts. */
  writable: string;
  cwd: string;
  /** Folders that are empty for the command. */
  hidden: readonly string[];
  network: boolean;
  cpuSeconds: number;
};

const PROBE_MS = 10_000;
const FILE_BYTES_MAX = 1024 ** 3;

/**
 * Everything but the writable folder becomes read-only (`/proc/sys` of a root too), devices are left
 * out but for the harmless ones, hidden folders become empty, and only then, with no capability left
 * to undo it, the command is run. It is no part of the script: it comes as arguments.
 */
const SETUP = `
writable=$1 hidden=$2; shift 2
mount --bind "$writable" "$writable" && mkdir -p "$writable/dev" || exit 125
mount -t tmpfs -o mode=755 none "$writable/dev" || exit 125
for device in null zero full random urandom; do
  : > "$writable/dev/$device" && mount --bind "/dev/$device" "$writable/dev/$device" || exit 125
done
mkdir -m 1777 "$writable/dev/shm" && ln -s /proc/self/fd "$writable/dev/fd" || exit 125
mount --rbind "$writable/dev" /dev || exit 125
while read -r _ at _; do
  case $at in "$writable"|"$writable"/*|/dev|/dev/*) ;;
    *) mount -o remount,bind,ro "$at" 2>/dev/null ;;
  esac
done < /proc/self/mounts
while [ "$hidden" -gt 0 ]; do
  # Gone where a folder above it is hidden already.
  if [ -d "$1" ]; then mount -t tmpfs -o ro none "$1" || exit 125; fi
  shift; hidden=$((hidden - 1))
done
cd "$1" || exit 125
shift
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"
`;

function inNamespaces(argv: readonly string[], limits: IsolationLimits): string[] {
  const { writable, cwd } = limits;
  const hidden = limits.hidden.filter(
    (folder) => existsSync(folder) && path.relative(folder, writable).startsWith('..'),
  );
  // If this process dies, unshare dies, and with it everything in its namespaces.
  const apart = 'setpriv --pdeathsig KILL -- unshare --map-root-user --mount --pid --ipc';
  const all = `${apart} --fork --kill-child --mount-proc${limits.network ? '' : ' --net'} --`;
  const script = ['/bin/sh', '-c', SETUP, 'sh'];
  return [...all.split(' '), ...script, writable, String(hidden.length), ...hidden, cwd, ...argv];
}

function limited(argv: readonly string[], { cpuSeconds }: IsolationLimits): string[] {
  const cpu = Math.ceil(cpuSeconds);
  return ['prlimit', '--core=0', `--cpu=${cpu}`, `--fsize=${FILE_BYTES_MAX}`, '--', ...argv];
}

/**
 * Finds out by trying what the host allows: namespaces of the kernel and resource limits where they
 * are there, else the plain process.
 */
export async function detectIsolation(logger: Logger): Promise<Isolation> {
  const hasLimits = await works(logger, ['prlimit', '--core=0', '--', 'true']);
  const limit = (argv: readonly string[], limits: IsolationLimits): string[] =>
    hasLimits ? limited(argv, limits) : [...argv];
  const wrap = (argv: readonly string[], limits: IsolationLimits): string[] =>
    inNamespaces(limit(argv, limits), limits);
  const writable = await makeFolder();
  try {
    const probe = { writable, cwd: writable, hidden: [], network: false, cpuSeconds: 10 };
    const argv = inNamespaces(limit(['true'], probe), probe);
    if (await works(logger, argv)) return { namespaces: true, wrap };
  } finally {
    await removeFolder(writable, logger);
  }
  logger.warn('commands of gates run without namespaces: this host does not allow them');
  return { namespaces: false, wrap: limit };
}

async function works(logger: Logger, argv: readonly string[]): Promise<boolean> {
  const [program = '', ...args] = argv;
  try {
    await promisify(execFile)(program, args, { timeout: PROBE_MS });
    return true;
  } catch (error) {
    logger.debug({ err: error, program }, 'not available on this host');
    return false;
  }
}
