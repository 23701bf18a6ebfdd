import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { GATE_LIMITS, type GateSpec } from '#libs/contracts';
import { exportCommit } from '#libs/worktrees';
import type { Logger } from 'pino';
import { type ConfinedEnd, runConfined } from './confined.ts';
import { makeFolder, removeFolder, removeStale } from './folders.ts';
import { detectIsolation, type Isolation } from './isolation.ts';
import type { Candidate, GateVerdict } from './verdict.ts';

export type CommandSpec = Extract<GateSpec, { gate: 'command' }>;

export type CommandGates = {
  /** Runs the command in a fresh checkout of the candidate's commit. */
  run(spec: CommandSpec, candidate: Candidate, signal?: AbortSignal): Promise<GateVerdict>;
};

const STARTUP_SECONDS = 10;
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The gates that run programs. Each gets a folder of its own with the commit's files, a home and
 * room for temporary files, and none of our environment; what it may do beside that is up to
 * `detectIsolation`.
 * @param hidden folders that a command must not see, as the state folder
 */
export function createCommandGates(logger: Logger, hidden: readonly string[]): CommandGates {
  let detected: Promise<Isolation> | undefined;
  const isolation = (): Promise<Isolation> => {
    detected ??= removeStale(logger).then(() => detectIsolation(logger));
    return detected;
  };
  return {
    run: async (spec, candidate, signal) => {
      const { namespaces, wrap } = await isolation();
      const root = await makeFolder();
      try {
        const { repoPath, worktreesPath } = candidate.theater;
        await exportCommit({ repoPath, ref: candidate.commitSha, dir: workOf(root) });
        const env = await environment(spec, root);
        const { network, timeout_seconds } = spec;
        const argv = wrap(spec.run, {
          writable: root,
          cwd: workOf(root),
          hidden: [...hidden, repoPath, worktreesPath],
          network,
          cpuSeconds: timeout_seconds + STARTUP_SECONDS,
        });
        const ended = await runConfined({
          argv,
          cwd: workOf(root),
          env,
          timeoutMs: timeout_seconds * 1_000,
          maxOutputBytes: spec.max_output_bytes,
          tailBytes: 4 * GATE_LIMITS.outputTailChars,
          ...(signal && { signal }),
        });
        return verdict(spec, ended, namespaces, root);
      } finally {
        await removeFolder(root, logger);
      }
    },
  };
}

const workOf = (root: string): string => path.join(root, 'work');

async function environment({ env }: CommandSpec, root: string): Promise<Record<string, string>> {
  const [home, temp] = [path.join(root, 'home'), path.join(root, 'tmp')];
  await mkdir(home);
  await mkdir(temp);
  return {
    // The Node that runs us comes first, so that projects are checked with a known one.
    PATH: `${path.dirname(process.execPath)}:${SYSTEM_PATH}`,
    HOME: home,
    TMPDIR: temp,
    LANG: 'C.UTF-8',
    CI: 'true',
    ...env,
  };
}

function verdict(
  spec: CommandSpec,
  ended: ConfinedEnd,
  namespaces: boolean,
  root: string,
): GateVerdict {
  const network = spec.network ? 'allowed' : namespaces ? 'cut off' : 'not cut off: host';
  const tail = printable(ended.tail.replaceAll(root, '')).slice(-GATE_LIMITS.outputTailChars);
  const passed = ended.end === 'exit' && ended.exitCode === 0;
  return {
    passed,
    message: `${spec.run[0]} ${outcome(spec, ended)}`,
    details: {
      end: ended.end,
      exit_code: ended.exitCode,
      ...(ended.killedBy !== null && { killed_by: ended.killedBy }),
      duration_ms: ended.durationMs,
      output_bytes: ended.outputBytes,
      output_sha256: ended.outputSha256,
      output_tail: tail,
      confined: namespaces ? 'namespaces' : 'process group',
      network,
    },
  };
}

function outcome(spec: CommandSpec, { end, exitCode, killedBy }: ConfinedEnd): string {
  if (end === 'timeout') return `took longer than ${spec.timeout_seconds} s and was killed`;
  if (end === 'output') return `wrote over ${spec.max_output_bytes} bytes and was killed`;
  if (end === 'not-started') return `could not be started: ${killedBy}`;
  return exitCode === null ? `was killed by ${killedBy}` : `ended with exit code ${exitCode}`;
}

/** Control characters but for line breaks and tabs could do things to a terminal. */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '');
}
