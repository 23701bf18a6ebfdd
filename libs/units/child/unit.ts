import type { FromUnit, Task, ToolCall, ToUnit } from '../protocol.ts';
import { entriesOf, lookAt, Missing, readSome } from './files.ts';
import { assertWritable, Denied } from './policy.ts';
import { EXIT, runTool, type ToolResult } from './run-tool.ts';

/** Says something to the worker, and waits for its answer where it is a question. */
export type Wire = { send: (message: FromUnit) => void; ask: (message: FromUnit) => ToUnit };

/**
 * Carries out one order: puts its files before the model, runs the tools that the model asks for,
 * and hands the outputs to the worker, which alone writes. Everything that it may do is in `task`.
 * @throws {Denied} a file that the order itself names is not allowed
 */
export function runUnit(task: Task, wire: Wire): void {
  const { files, notes } = readWanted(task);
  const tools = createTools(task, wire);
  let answer = wire.ask({ kind: 'ask', files, results: [] });
  while (answer.kind === 'calls') {
    const results = [];
    for (const call of answer.calls) {
      if (call.name === 'blocked') {
        wire.send({ kind: 'blocked', reason: textOf(call.input.reason) || 'without a reason' });
        return;
      }
      const { exit, output } = tools(call);
      results.push({ id: call.id, exit, output });
    }
    answer = wire.ask({ kind: 'ask', files: [], results });
  }
  if (answer.kind !== 'answer') throw new Error(`${answer.kind} is no answer`);
  for (const { path, text } of answer.outputs) {
    assertWritable(path, task.allow);
    const written = wire.ask({ kind: 'write', path, text });
    if (written.kind === 'refused') throw new Denied(written.reason);
  }
  wire.send({ kind: 'done', notes });
}

/** Counts the calls and bytes of one order, and tells each call. */
function createTools(task: Task, wire: Wire): (call: ToolCall) => ToolResult {
  const { limits } = task;
  let calls = 0;
  let bytesLeft = limits.toolBytes;
  return (call) => {
    const index = calls;
    calls += 1;
    const startedAt = performance.now();
    const args = argsOf(call);
    const result =
      calls > limits.toolCalls || bytesLeft <= 0
        ? overCap(calls > limits.toolCalls ? `${limits.toolCalls} calls` : 'its bytes')
        : call.name === 'write'
          ? write(task, wire, call)
          : args === undefined
            ? { exit: EXIT.usage, output: `${call.name}: args must be an array of strings` }
            : runTool(task, call.name, args, {
                maxBytes: Math.min(bytesLeft, limits.callBytes),
                limitMs: limits.callMs,
              });
    const bytesOut = Buffer.byteLength(result.output);
    bytesLeft -= bytesOut;
    wire.send({
      kind: 'tool',
      index,
      command: call.name.slice(0, 64),
      line: lineOf(call, args).slice(0, LINE_CHARS),
      exit: result.exit,
      bytes_in: Buffer.byteLength(JSON.stringify(call.input)),
      bytes_out: bytesOut,
      duration_ms: Math.round(performance.now() - startedAt),
      ...(result.denied !== undefined && { denied: result.denied.slice(0, 500) }),
    });
    return result;
  };
}

const LINE_CHARS = 500;

function overCap(what: string): ToolResult {
  const denied = `no more tool calls: the order has used ${what}; answer with what you have`;
  return { exit: EXIT.overCap, output: denied, denied };
}

function write(task: Task, wire: Wire, { input }: ToolCall): ToolResult {
  const { path, text } = input;
  if (typeof path !== 'string' || typeof text !== 'string') {
    return { exit: EXIT.usage, output: 'write: path and text must be strings' };
  }
  try {
    const place = assertWritable(path, task.allow);
    const answer = wire.ask({ kind: 'write', path: place, text });
    if (answer.kind === 'refused') throw new Denied(answer.reason);
    return { exit: 0, output: `wrote ${Buffer.byteLength(text)} bytes to ${place}` };
  } catch (error) {
    if (!(error instanceof Denied)) throw error;
    return { exit: EXIT.denied, output: `denied: ${error.message}`, denied: error.message };
  }
}

function argsOf({ input }: ToolCall): string[] | undefined {
  const args = input.args ?? [];
  const fits = Array.isArray(args) && args.every((arg) => typeof arg === 'string');
  return fits ? (args as string[]) : undefined;
}

/** The call as a command line, for people; a `write` without its text. */
function lineOf({ name, input }: ToolCall, args: string[] | undefined): string {
  const words = name === 'write' ? [textOf(input.path)] : (args ?? []);
  const quoted = words.map((word) =>
    /^[\w./:=@%+,*-]+$/.test(word) ? word : JSON.stringify(word),
  );
  return [name, ...quoted].join(' ');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.trim() : '';
}

/** What is absent, too large or no text is left out with a note: the model works on the rest. */
function readWanted(task: Task): { files: { path: string; text: string }[]; notes: string[] } {
  const { limits } = task;
  const notes: string[] = [];
  const files: { path: string; text: string }[] = [];
  let left = limits.totalBytes;
  for (const path of expand(task, notes)) {
    if (files.length === limits.files) {
      notes.push(`Only the first ${limits.files} files were read.`);
      break;
    }
    const bytes = readOne(task, path, Math.min(left, limits.fileBytes), notes);
    if (bytes === undefined) continue;
    if (bytes.includes(0)) {
      notes.push(`${path} is not text and was left out.`);
      continue;
    }
    left -= bytes.length;
    files.push({ path, text: bytes.toString() });
  }
  return { files, notes };
}

function readOne(task: Task, path: string, max: number, notes: string[]): Buffer | undefined {
  try {
    const { bytes, size } = readSome(task, path, max);
    if (size <= max) return bytes;
    notes.push(`${path} is too large to be read.`);
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    notes.push(`${path} is not there.`);
  }
  return undefined;
}

/** Replaces `folder/*` by the files directly in that folder. */
function expand(task: Task, notes: string[]): Set<string> {
  const paths = new Set<string>();
  for (const path of task.wanted) {
    if (!path.endsWith('/*')) {
      paths.add(path);
      continue;
    }
    const folder = path.slice(0, -2);
    const found = lookAt(task, folder);
    const entries = found?.stat.isDirectory() === true ? entriesOf(task, found.parts) : [];
    const inside = entries.filter(({ kind }) => kind === 'file');
    if (inside.length === 0) notes.push(`${path} matches no file.`);
    for (const { name } of inside) paths.add(`${folder}/${name}`);
  }
  return paths;
}
