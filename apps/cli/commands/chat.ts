import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { API, LIMITS, type StoredEvent } from '#libs/contracts';
import type { CallInput } from '#libs/service';
import { type Command, InvalidArgumentError } from 'commander';
import type { Client } from '../client.ts';
import { eventLine } from '../event-line.ts';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { size } from '../format.ts';
import { type Io, paint } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  withConnection,
  withExamples,
  type Run,
} from '../options.ts';
import { listenForSignals } from '../signals.ts';

type ChatOptions = ConnectionOptions & {
  file: string[];
  playbook?: string;
  var: Record<string, string>;
  theater?: string;
  project?: string;
  phase?: string;
  fill: Record<string, string>;
  async?: true;
  quiet?: true;
  requestId?: string;
};

/** The event types that end a run. */
export const RUN_ENDED: readonly string[] = ['RUN_COMPLETED', 'RUN_FAILED', 'RUN_CANCELLED'];

export function chatCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('chat')
    .summary('state an objective and wait for the reply')
    .description(
      'States an objective. Progress goes to stderr, the reply to stdout. Ctrl-C stops waiting; the run goes on.',
    )
    .argument('[message]', 'what is wanted; - reads it from stdin')
    .option('--file <path>', 'an input file, or NAME=PATH to name it; repeatable', collect, [])
    .option('--playbook <name>', 'how to go about it (default)')
    .option('--var <key=value>', 'a variable of the playbook; repeatable', collectVariable, {})
    .option('--theater <id>', 'where to work (IRONCLAW_THEATER, main)')
    .option('--project <id>', 'the governed project that the work belongs to, with --phase')
    .option('--phase <id>', 'its phase; the gate profile governed waits for its go')
    .option(
      '--fill <path=artifact>',
      'propose a file to an artifact; repeatable',
      collectVariable,
      {},
    )
    .option('--async', 'do not wait: print the id of the run')
    .option('--request-id <id>', 'the same id is the same run, however often it is sent')
    .option('-q, --quiet', 'no progress')
    .action((message: string | undefined, options: ChatOptions) =>
      run(() => chat(io, message, options)),
    );
  withExamples(withConnection(command), [
    'chat "Write a short note on what an event log is"',
    'chat "Summarise the call" --file call.md --playbook filesystem_agent.call_summary',
    'chat - --async --json < task.md',
  ]);
}

async function chat(io: Io, message: string | undefined, options: ChatOptions): Promise<ExitCode> {
  const inputs = await Promise.all(options.file.map(readInput));
  const text = await messageOf(message, inputs);
  const client = connectTo(io, options);
  const { playbook, theater, requestId } = options;
  const { run_id } = await startChat(client, {
    message: text,
    ...(inputs.length > 0 && { inputs }),
    ...(playbook !== undefined && { playbook }),
    ...(Object.keys(options.var).length > 0 && { variables: options.var }),
    ...(theater !== undefined && { theater_hint: theater }),
    ...(requestId !== undefined && { request_id: requestId }),
    ...governanceOf(options),
  });
  if (options.async) {
    io.out(options.json ? JSON.stringify({ run_id, status: 'OPEN' }) : run_id);
    return EXIT.ok;
  }
  const signals = listenForSignals();
  const last = await followRun(client, run_id, signals.stop, (event) => {
    if (!options.quiet) io.err(eventLine(event, io.colours.err));
  });
  signals.release();
  if (last === undefined) {
    io.err(`run ${run_id} goes on; see: ironclaw runs show ${run_id}`);
    return EXIT.failed;
  }
  const done = await client.call(API.gateway.run, { run_id, at_least: last.seq });
  if (options.json) io.out(JSON.stringify(done));
  else if (done.reply !== null) io.out(done.reply);
  if (done.status === 'COMPLETE') return EXIT.ok;
  io.err(
    `${paint(io.colours.err, 'red', 'error:')} ${done.summary}\nSee: ironclaw runs show ${run_id}`,
  );
  return EXIT.failed;
}

/** @throws {Failure} only one of project and phase is named */
function governanceOf({ project, phase, fill }: ChatOptions) {
  const fills = Object.keys(fill).length > 0;
  if (project === undefined && phase === undefined && !fills) return {};
  if (project === undefined || phase === undefined) {
    throw usage('--project and --phase go together', 'Name both, or neither.');
  }
  const governance = { project_id: project, phase_id: phase };
  return { governance: fills ? { ...governance, artifacts: fill } : governance };
}

/** Creates the run, without waiting for its end. */
export async function startChat(
  client: Client,
  input: Omit<CallInput<typeof API.gateway.chat>, 'mode'>,
): Promise<{ run_id: string }> {
  const { run_id } = await client.call(API.gateway.chat, { ...input, mode: 'async' });
  return { run_id };
}

/** Shows the events of a run, from its first, until it ends; undefined if `signal` came first. */
async function followRun(
  client: Client,
  runId: string,
  signal: AbortSignal,
  show: (event: StoredEvent) => void,
): Promise<StoredEvent | undefined> {
  const filter = { run_id: runId, from_seq: 1 };
  for await (const event of client.follow(API.gateway.stream, filter, signal)) {
    show(event);
    if (RUN_ENDED.includes(event.type)) return event;
  }
  return undefined;
}

/** An input file of a run: `PATH`, under its own name, or `NAME=PATH`. */
export async function readInput(given: string): Promise<{ name: string; text: string }> {
  const at = given.indexOf('=');
  const path = at > 0 ? given.slice(at + 1) : given;
  const name = at > 0 ? given.slice(0, at) : basename(given);
  try {
    const { size: bytes } = await stat(path);
    if (bytes > LIMITS.chatBodyBytes) {
      throw usage(`${path} has ${size(bytes)}`, `At most ${size(LIMITS.chatBodyBytes)} in all.`);
    }
    return { name, text: await readFile(path, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw usage(`${path} cannot be read (${code})`, 'Name a file that is there: --file PATH.');
  }
}

async function messageOf(
  message: string | undefined,
  inputs: readonly { name: string }[],
): Promise<string> {
  if (message === '-') return (await readStdin()).trim() || noMessage();
  if (message !== undefined) return message;
  if (inputs.length === 0) return noMessage();
  return `Work on ${inputs.map(({ name }) => name).join(', ')}`;
}

function noMessage(): never {
  throw usage('there is no message', 'Say what is wanted: ironclaw chat "…", or name a --file.');
}

async function readStdin(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += chunk as string;
    if (text.length > LIMITS.messageChars) {
      throw usage('the message is too long', `At most ${LIMITS.messageChars} characters.`);
    }
  }
  return text;
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function collectVariable(value: string, before: Record<string, string>): Record<string, string> {
  const at = value.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be KEY=VALUE.');
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) };
}
