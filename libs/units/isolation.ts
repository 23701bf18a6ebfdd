import { execFile } from 'node:child_process';

/** How the host helps to confine a unit, beyond Node's permission model. */
export type Isolation = {
  /** True: the process has no network at all; false: only its modules refuse it. */
  network: boolean;
  /** True: the kernel ends the unit when its worker ends, whatever it is doing. */
  diesWithWorker: boolean;
  /** Command that starts the process so; empty where the host offers nothing. */
  command: readonly string[];
  /** One plain line for reports and `doctor`. */
  notice: string;
};

const PROBE_MS = 5_000;
const NETWORK = [['unshare', '-n', '--'], ['unshare', '-r', '-n', '--'], []];
const PARENT = [['setpriv', '--pdeathsig', 'KILL', '--'], []];

let detected: Promise<Isolation> | undefined;

/** What this host offers; tried once per process. */
export function detectIsolation(): Promise<Isolation> {
  detected ??= detect();
  return detected;
}

async function detect(): Promise<Isolation> {
  for (const network of NETWORK) {
    for (const parent of PARENT) {
      const command = [...network, ...parent];
      if (command.length === 0 || (await works(command))) return isolation(network, parent);
    }
  }
  return isolation([], []);
}

function isolation(network: readonly string[], parent: readonly string[]): Isolation {
  const none = network.length === 0;
  return {
    network: !none,
    diesWithWorker: parent.length > 0,
    command: [...network, ...parent],
    notice: none
      ? 'Units have no network: their modules refuse it; this host gives no network namespace.'
      : 'Units have no network: each runs in an empty network namespace.',
  };
}

function works([program = '', ...args]: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(program, [...args, process.execPath, '--version'], { timeout: PROBE_MS }, (error) =>
      resolve(error === null),
    );
  });
}
