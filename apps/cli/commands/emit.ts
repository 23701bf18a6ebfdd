import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { API, isAppError, RISK_STATUSES } from '#libs/contracts';
import type { CallData } from '#libs/service';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Client } from '../client.ts';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { table } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  type Run,
  withConnection,
  withExamples,
} from '../options.ts';

type EmitOptions = ConnectionOptions & { file?: string; target: string[]; wait?: number };
type MilestoneOptions = EmitOptions & {
  id?: string;
  time?: string;
  scope: string;
  claim?: string;
  evidence: Record<string, string>[];
  risk: string;
  next?: string;
  source: string;
};
type Emission = CallData<typeof API.outbox.emitMilestone>;
type State = Emission['deliveries'][number]['state'];

const FILE_BYTES_MAX = 1024 * 1024;
const WAIT_SECONDS_MAX = 3_600;
const POLL_MS = 200;
const OPEN: readonly State[] = ['pending', 'retrying'];
const WELL: readonly State[] = ['delivered', 'duplicate'];

export function emitCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('emit')
    .summary('send a signed milestone or demand summary to feeds')
    .description(
      'Queues a milestone or a demand summary for signed delivery. The same event emitted again is the ' +
        'same delivery, so a command whose outcome is not known can be given again.',
    );
  const milestone = command
    .command('milestone')
    .description('A milestone, from a JSON file or from options.')
    .option('--id <id>', 'milestoneId')
    .option('--claim <text>', 'what has been achieved')
    .option(
      '--evidence <type|path|summary|ref>',
      "what shows it, as 'log|runs/r1|all orders passed'; the ref may be left out; again for more",
      collectEvidence,
      [],
    )
    .option('--next <text>', 'what comes next')
    .option('--scope <name>', 'what it is about', 'runtime')
    .addOption(
      new Option('--risk <status>', 'riskStatus').choices(RISK_STATUSES).default('on-track'),
    )
    .option('--source <name>', 'orchestrator, agent or operator', 'operator')
    .option('--time <iso>', 'timestampUtc; give it to emit the same milestone again (now)')
    .action((options: MilestoneOptions) => run(() => emitMilestone(io, options)));
  const demand = command
    .command('demand')
    .description('A demand summary, from a JSON file with the snapshot.')
    .action((options: EmitOptions) => run(() => emitDemand(io, options)));
  for (const one of [milestone, demand]) {
    withConnection(one)
      .option('--file <path>', 'JSON: the event or snapshot, or an envelope that holds it')
      .option(
        '--target <name>',
        'to this target; again for more (those of the settings)',
        collect,
        [],
      )
      .option('--wait <seconds>', 'wait until it is delivered, or not to be', waitSeconds);
  }
  withExamples(command, [
    "emit milestone --id release-7 --claim 'It is out' --evidence 'commit|main|tagged|4ae3cf0' --next 'Watch it'",
    'emit milestone --file milestone.json --target partner --wait 30',
    'emit demand --file snapshot.json',
  ]);
}

async function emitMilestone(io: Io, options: MilestoneOptions): Promise<ExitCode> {
  const given =
    options.file === undefined ? fromOptions(options) : await fromFile(options.file, 'event');
  const client = connectTo(io, options);
  const emission = await client.call(API.outbox.emitMilestone, {
    event: given,
    ...targetsOf(options),
  });
  return tell(io, client, options, emission);
}

async function emitDemand(io: Io, options: EmitOptions): Promise<ExitCode> {
  if (options.file === undefined) {
    throw usage('there is no snapshot', 'Name a JSON file: ironclaw emit demand --file PATH.');
  }
  const snapshot = await fromFile(options.file, 'snapshot');
  const client = connectTo(io, options);
  const emission = await client.call(API.outbox.emitDemand, { snapshot, ...targetsOf(options) });
  return tell(io, client, options, emission);
}

function fromOptions(options: MilestoneOptions): Record<string, unknown> {
  const { id, claim, evidence, next, scope, risk, source, time } = options;
  const needed = { '--id': id, '--claim': claim, '--next': next, '--evidence': evidence[0] };
  const missing = Object.entries(needed).find(([, value]) => value === undefined);
  if (missing !== undefined) {
    throw usage(`${missing[0]} is needed`, 'Give it, or name a JSON file: --file PATH.');
  }
  return {
    milestoneId: id,
    timestampUtc: time ?? new Date().toISOString(),
    scope,
    claim,
    evidence,
    riskStatus: risk,
    nextAction: next,
    source,
  };
}

/** The event or snapshot in a JSON file, bare or in its envelope. */
async function fromFile(path: string, member: string): Promise<Record<string, unknown>> {
  const value = asObject(path, await readText(path));
  const held = value[member];
  return typeof held === 'object' && held !== null ? (held as Record<string, unknown>) : value;
}

async function readText(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= FILE_BYTES_MAX) return bytes.toString('utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw usage(`${path} cannot be read (${code})`, 'Name a file that is there: --file PATH.');
  }
  throw usage(`${path} is over ${FILE_BYTES_MAX} bytes`, 'Emit one event at a time.');
}

function asObject(path: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw usage(`${path} is not JSON: ${(error as Error).message}`, 'Give one JSON object.');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw usage(`${path} holds no JSON object`, 'Give one JSON object.');
}

function targetsOf({ target }: EmitOptions): { targets?: string[] } {
  return target.length === 0 ? {} : { targets: target };
}

async function tell(
  io: Io,
  client: Client,
  { wait, json }: EmitOptions,
  emission: Emission,
): Promise<ExitCode> {
  const deliveries = await settled(client, emission.deliveries, wait ?? 0);
  if (json) {
    io.out(JSON.stringify({ ...emission, deliveries }));
  } else {
    const rows = deliveries.map(({ target, state, duplicate, delivery_id }) => [
      target,
      state,
      duplicate ? 'emitted before' : 'queued',
      delivery_id,
    ]);
    const heads = ['target', 'state', 'emit', 'delivery'];
    io.out(table(heads, rows, { colours: io.colours.out, none: 'no targets' }));
  }
  if (wait === undefined) return EXIT.ok;
  return deliveries.every(({ state }) => WELL.includes(state)) ? EXIT.ok : EXIT.failed;
}

/** The deliveries once all have ended, or the time is over. */
async function settled(
  client: Client,
  given: Emission['deliveries'],
  seconds: number,
): Promise<Emission['deliveries']> {
  const deadline = performance.now() + seconds * 1_000;
  let deliveries = given;
  while (deliveries.some(({ state }) => OPEN.includes(state)) && performance.now() < deadline) {
    await sleep(POLL_MS);
    deliveries = await Promise.all(deliveries.map((one) => current(client, one)));
  }
  return deliveries;
}

type One = Emission['deliveries'][number];

async function current(client: Client, one: One): Promise<One> {
  const { delivery_id } = one;
  try {
    const { state } = await client.call(API.outbox.delivery, { delivery_id });
    return { ...one, state };
  } catch (error) {
    // What was delivered is kept for a while only.
    if (isAppError(error, 'DELIVERY_NOT_FOUND')) return { ...one, state: 'delivered' };
    throw error;
  }
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function collectEvidence(value: string, before: Record<string, string>[]) {
  const [type, path, summary, ref, ...rest] = value.split('|').map((part) => part.trim());
  if (!type || !path || !summary || rest.length > 0) {
    throw new InvalidArgumentError('It must be TYPE|PATH|SUMMARY or TYPE|PATH|SUMMARY|REF.');
  }
  return [...before, { type, path, summary, ...(ref && { ref }) }];
}

function waitSeconds(value: string): number {
  const seconds = Number(value);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= WAIT_SECONDS_MAX) return seconds;
  throw new InvalidArgumentError(`It must be 1 to ${WAIT_SECONDS_MAX}.`);
}
