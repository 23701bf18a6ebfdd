import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { AppError, ERRORS, invalid, isAppError, parse } from '#libs/contracts';
import type { Isolation } from './isolation.ts';
import {
  type Asked,
  type FromUnit,
  fromUnit,
  type Task,
  type ToolReport,
  type ToUnit,
  type Write,
} from './protocol.ts';

/** How units are started. */
export type UnitHost = {
  /** Folder with the unit's code, of `prepareUnitCode`. */
  codePath: string;
  /** File in it to run. Default `main.mjs`. */
  entry?: string;
  isolation: Isolation;
};

/** What the worker does for a unit. What one throws ends the unit, and is thrown by `runUnit`. */
export type UnitPorts = {
  /** Puts files or tool results before the model. */
  ask: (asked: Asked) => Promise<Extract<ToUnit, { kind: 'calls' | 'answer' }>>;
  /** @throws {TOOL_POLICY_VIOLATION} which is told to the unit and does not end it */
  write: (write: Write) => Promise<void>;
  /** A tool has run. */
  toolCalled: (report: ToolReport) => void;
};

/** How a unit ended by itself. */
export type UnitEnd = { kind: 'done'; notes: string[] } | { kind: 'blocked'; reason: string };

/** Limits of a unit's process. */
export const UNIT_LIMITS = {
  heapMb: 256,
  /** One message of a unit: the files that it puts before the model, as JSON. */
  messageBytes: 64 * 1024 * 1024,
  /** All that it may say. */
  totalBytes: 256 * 1024 * 1024,
  /** What is kept of its error output. */
  errorBytes: 4_096,
} as const;

const REFUSAL = ERRORS.TOOL_POLICY_VIOLATION.message.replace('{reason}', '');

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * Runs one order in a process of its own, which may read the worktree and nothing else, write
 * nothing, start nothing, and has no network and no environment. It is killed, with all that may
 * belong to it, as soon as `signal` is aborted, and has ended when this returns. A port that is at
 * work then must end by itself.
 * @throws the reason of `signal` · what a port threw · {TOOL_POLICY_VIOLATION} a file of the order
 * itself is not allowed · {Error} the process broke down
 */
export async function runUnit(
  host: UnitHost,
  task: Task,
  ports: UnitPorts,
  signal: AbortSignal,
): Promise<UnitEnd> {
  signal.throwIfAborted();
  const root = await realpath(task.root);
  const child = start(host, root);
  const kill = () => killGroup(child);
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, by) => resolve(by ?? `code ${code}`));
  });
  signal.addEventListener('abort', kill, { once: true });
  const errors = collectErrors(child);
  try {
    const end = await converse(child, { ...task, root }, ports);
    if (end !== undefined && !signal.aborted) return end;
    throw new Error(`the unit's process ended (${await exited}) ${errors()}`.trim());
  } catch (error) {
    // What breaks once the unit is killed breaks because of that.
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
    await exited;
  }
}

/** The command line of a unit; the process has its own group, so that all of it can be killed. */
function start({ codePath, entry = 'main.mjs', isolation }: UnitHost, root: string): Child {
  const node = [
    process.execPath,
    '--permission',
    `--allow-fs-read=${root}/`,
    `--allow-fs-read=${codePath}/`,
    `--max-old-space-size=${UNIT_LIMITS.heapMb}`,
    `${codePath}/${entry}`,
  ];
  const [program = '', ...args] = [...isolation.command, ...node];
  const stdio: ['pipe', 'pipe', 'pipe'] = ['pipe', 'pipe', 'pipe'];
  return spawn(program, args, { cwd: codePath, env: {}, stdio, detached: true });
}

function killGroup({ pid, exitCode, signalCode }: Child): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    // Windows has no process groups; a unit cannot start anything there either.
    process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Serves the unit until it says that it ends; undefined where it goes without a word. */
async function converse(child: Child, task: Task, ports: UnitPorts): Promise<UnitEnd | undefined> {
  // A unit that has gone cannot be written to; its end is told by the line that stops.
  child.stdin.on('error', () => undefined);
  const say = (message: ToUnit) => child.stdin.write(`${JSON.stringify(message)}\n`);
  say({ kind: 'begin', task });
  for await (const line of linesOf(child.stdout)) {
    const said = readMessage(line);
    switch (said.kind) {
      case 'ask':
        say(await ports.ask(said));
        break;
      case 'write':
        say(await writeFor(ports, said));
        break;
      case 'tool':
        ports.toolCalled(said);
        break;
      case 'done':
      case 'blocked':
        return said;
      case 'failed':
        if (said.denied) throw new AppError('TOOL_POLICY_VIOLATION', { reason: said.message });
        throw new Error(`the unit failed: ${said.message}`);
    }
  }
  return undefined;
}

async function writeFor(ports: UnitPorts, write: Write): Promise<ToUnit> {
  try {
    await ports.write(write);
    return { kind: 'written' };
  } catch (error) {
    if (!isAppError(error, 'TOOL_POLICY_VIOLATION')) throw error;
    // The unit's own words follow the same beginning.
    return { kind: 'refused', reason: error.message.replace(REFUSAL, '') };
  }
}

function readMessage(line: string): FromUnit {
  try {
    return parse(fromUnit, JSON.parse(line));
  } catch (error) {
    throw new Error(`the unit does not speak the protocol: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let kept: Buffer[] = [];
  let bytes = 0;
  let total = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    total += chunk.length;
    let rest = chunk;
    for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
      yield Buffer.concat([...kept, rest.subarray(0, end)]).toString();
      rest = rest.subarray(end + 1);
      kept = [];
      bytes = 0;
    }
    if (rest.length > 0) kept.push(rest);
    bytes += rest.length;
    if (bytes > UNIT_LIMITS.messageBytes || total > UNIT_LIMITS.totalBytes) {
      throw invalid('unit', 'says more than it may');
    }
  }
}

/** Keeps the first of the process's error output; the rest is read and dropped. */
function collectErrors(child: Child): () => string {
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString().slice(0, UNIT_LIMITS.errorBytes - text.length);
  });
  return () => text.trim();
}
