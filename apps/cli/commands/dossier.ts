import { randomUUID } from 'node:crypto';
import { join, resolve } from 'node:path';
import { AppError, type BodyUpload, invalid } from '#libs/contracts';
import {
  artifactIndexed,
  type BodyQueue,
  openEventQueue,
  openQueue,
  readUpload,
  scanMission,
  type Skipped,
  TICK_MS,
} from '#libs/dossier';
import { loadGate, openClock } from '#libs/missionlog';
import type { Gate } from '#libs/missions';
import { type Command, InvalidArgumentError } from 'commander';
import { type Checkout, findCheckout, findMission } from '../checkout.ts';
import {
  namedTarget,
  type SenderOptions,
  type Sent,
  sendOn,
  sendOnce,
  type Target,
  tokenOf,
} from '../dossier-sender.ts';
import { settingsOf } from '../env.ts';
import { EXIT, type ExitCode, unreachable } from '../failure.ts';
import { ago, facts, size, table } from '../format.ts';
import type { Io } from '../io.ts';
import { runningOn, withExamples, withJson, withState } from '../options.ts';
import { homeOf } from '../orchestrator/home.ts';
import { findRepository } from '../orchestrator/repository.ts';
import { listenForSignals } from '../signals.ts';

type QueueOptions = { json?: true; state?: string; queue?: string };
type ScanOptions = QueueOptions & { repo?: string; announce?: true };
type DrainOptions = QueueOptions & {
  server?: string;
  token?: string;
  follow?: true;
  every?: number;
};
type RetryOptions = QueueOptions & { failed?: true };

const EVERY_SECONDS_MAX = 86_400;

export function dossierCommand(
  program: Command,
  run: (work: () => Promise<ExitCode>) => void,
  io: Io,
) {
  const command = program
    .command('dossier')
    .summary('artifacts of missions: queue, send, see what waits')
    .description(
      'Artifacts of a mission are put into a queue on this machine and sent from there to the\n' +
        'server, also after days without a network.',
    );
  const add = (name: string, description: string, options?: { isDefault: true }): Command =>
    withJson(withState(command.command(name, options).description(description))).option(
      '--queue <file>',
      'the queue (IRONCLAW_DOSSIER_QUEUE, dossier/queue.db in the state folder)',
    );
  add('status', 'What waits, what failed and why.', { isDefault: true }).action(
    (options: QueueOptions) => run(() => status(io, options)),
  );
  add('scan <mission>', 'Put the artifacts of a mission into the queue, as far as they are new.')
    .option('--repo <dir>', 'the checkout (the current folder)')
    .option(
      '--announce',
      'queue the events too for which some servers wait before they take content',
    )
    .action((mission: string, options: ScanOptions) => run(() => scan(io, mission, options)));
  add('drain', 'Send all that is due, once; with --follow, whenever something is due.')
    .option('--server <url>', 'where to (IRONCLAW_DOSSIER_SERVER; else what runs on --state)')
    .option('--token <token>', 'a token for it (IRONCLAW_DOSSIER_TOKEN)')
    .option('--follow', 'go on until Ctrl-C, also while the server is away')
    .option('--every <seconds>', 'with --follow: look at least so often (300)', everySeconds)
    .action((options: DrainOptions) => run(() => drain(io, options)));
  add('retry', 'Make all that waits due now.')
    .option('--failed', 'put back what was given up, too')
    .action((options: RetryOptions) => run(() => retry(io, options)));
  withExamples(command, [
    'dossier scan 064-my-mission',
    'dossier drain --server https://missions.example.com',
    'dossier drain --follow',
    'dossier retry --failed',
  ]);
}

function queueFile(io: Io, { queue, state }: QueueOptions): string {
  const named = queue ?? io.env.IRONCLAW_DOSSIER_QUEUE;
  if (named !== undefined && named !== '') return resolve(named);
  const { config } = settingsOf(io.env, { ...(state !== undefined && { state }) });
  return join(config.stateDir, 'dossier', 'queue.db');
}

async function withQueue<T>(
  io: Io,
  options: QueueOptions,
  work: (queue: BodyQueue, file: string) => T | Promise<T>,
): Promise<T> {
  const file = queueFile(io, options);
  const queue = openQueue(file, { nowMs: () => Date.now() });
  try {
    return await work(queue, file);
  } finally {
    queue.close();
  }
}

async function status(io: Io, options: QueueOptions): Promise<ExitCode> {
  const { told, file } = await withQueue(io, options, (queue, at) => ({
    told: queue.status(),
    file: at,
  }));
  const queue = openEventQueue(file, { nowMs: () => Date.now() });
  const events = queue.status();
  queue.close();
  if (options.json) {
    io.out(JSON.stringify({ file, ...told, events }));
    return EXIT.ok;
  }
  const { queued, capacity, due, retrying, bytes, oldest_at, next_attempt_at, failed } = told;
  const now = Date.now();
  const rows: [string, string | number | null][] = [
    ['queue', file],
    ['waiting', `${queued} of ${capacity}, ${size(bytes)}`],
    ['due', due],
    ['retrying', retrying],
    ['oldest', oldest_at === null ? '-' : ago(oldest_at, now)],
    ['next try', next_attempt_at ?? '-'],
    ['failed', failed],
    ['events', `${events.queued} waiting, ${events.set_aside} set aside`],
    ['set aside', events.last_error],
  ];
  io.out(facts(rows));
  const colours = io.colours.out;
  if (told.errors.length > 0) {
    const errors = told.errors.map(({ rows: n, error }) => [n, error]);
    io.out(`\n${table(['rows', 'last error'], errors, { colours, none: '' })}`);
  }
  if (told.failures.length > 0) {
    const failures = told.failures.map((one) => [
      ago(one.failed_at, now),
      one.artifact_path,
      one.reason,
    ]);
    io.out(`\n${table(['failed', 'artifact', 'reason'], failures, { colours, none: '' })}`);
  }
  return EXIT.ok;
}

async function scan(io: Io, slug: string, options: ScanOptions): Promise<ExitCode> {
  const checkout = await findCheckout(options.repo ?? '.');
  const mission = findMission(checkout, slug);
  const gate = loadGate(io.env);
  const found = await scanMission(mission.dir);
  const skipped: Skipped[] = [...found.skipped];
  const counts = { queued: 0, already_exists: 0, queue_full: 0 };
  await withQueue(io, options, async (queue, file) => {
    const queued: BodyUpload[] = [];
    for (const artifact of found.artifacts) {
      const read = await readUpload(mission.dir, mission.path, mission.namespace, artifact);
      if (!read.ok) {
        skipped.push({ path: artifact.path, reason: read.reason });
        continue;
      }
      gate.body('body queue', read.upload);
      const outcome = queue.enqueue(read.upload);
      counts[outcome] += 1;
      if (outcome === 'queued') queued.push(read.upload);
    }
    if (options.announce) await announce(file, gate, checkout, mission.number, queued);
  });
  const code = counts.queue_full > 0 ? EXIT.failed : EXIT.ok;
  if (options.json) {
    io.out(JSON.stringify({ mission_slug: slug, ...counts, skipped }));
    return code;
  }
  const { queued, already_exists, queue_full } = counts;
  io.out(`${queued} queued, ${already_exists} queued before, ${queue_full} found no room`);
  const lines = skipped.map(({ path, reason }) => [path, reason]);
  if (lines.length > 0) {
    io.out(`\n${table(['left out', 'why'], lines, { colours: io.colours.out, none: '' })}`);
  }
  return code;
}

/** Queues an event for each body, with the clock that the repository's commands share. */
async function announce(
  file: string,
  gate: Gate,
  { root, identity }: Checkout,
  number: string,
  uploads: readonly BodyUpload[],
): Promise<void> {
  const repository = findRepository({}, root);
  if (repository === undefined) throw invalid('repo', `${root} is no repository`);
  const { build_id: buildId, node_id: nodeId } = identity;
  const clock = openClock(homeOf(repository.gitDir).clock, nodeId, () => new Date());
  const events = openEventQueue(file, { nowMs: () => Date.now() });
  try {
    for (const upload of uploads) {
      const lamport = (await clock.value()) + 1;
      const at = new Date().toISOString();
      const by = { eventId: randomUUID(), buildId, nodeId, lamport, at, number };
      const event = artifactIndexed(upload, by);
      gate.envelope('emit', event);
      await clock.emitted(lamport);
      events.enqueue(event);
    }
  } finally {
    events.close();
  }
}

/** Where bodies go: what is named, else what runs on the state folder; undefined: nothing does. */
function targetOf(io: Io, { server, token, state }: DrainOptions): Target | undefined {
  const given = { ...(server !== undefined && { server }), token };
  const named = namedTarget(io.env, given);
  if (named !== undefined) return named;
  const { running } = runningOn(io, state);
  return running && { server: running.url, token: tokenOf(io.env, token) };
}

async function drain(io: Io, options: DrainOptions): Promise<ExitCode> {
  const sender = {
    file: queueFile(io, options),
    gate: loadGate(io.env),
    onEventsHeld: (reason: string) => io.err(`the events cannot be sent: ${reason}`),
  };
  if (options.follow) return follow(io, options, sender);
  const target = targetOf(io, options);
  if (target === undefined) {
    const { stateDir } = runningOn(io, options.state);
    throw unreachable('The server of dossiers', `none is named, and nothing runs on ${stateDir}`);
  }
  const sent = await sendOnce(sender, target);
  if (sent === undefined) {
    throw new AppError('ALREADY_RUNNING', { path: sender.file, pid: 'unknown' });
  }
  if (options.json) io.out(JSON.stringify(sent));
  else {
    io.out(lineOf(sent));
    if (sent.stopped !== null) io.err(`stopped: ${sent.stopped}; see ironclaw dossier status`);
  }
  if (sent.stopped === 'unreachable') return EXIT.unreachable;
  const isAllDone = sent.retrying + sent.failed + sent.held + sent.exhausted === 0;
  return isAllDone && sent.stopped === null ? EXIT.ok : EXIT.failed;
}

function lineOf({ uploaded, already_exists, retrying, failed, held, exhausted, queued }: Sent) {
  const kept = held === 0 ? '' : `${held} held back by the contract, `;
  return (
    `${uploaded} stored, ${already_exists} there before, ${retrying} to be tried again, ` +
    `${kept}${failed + exhausted} given up, ${queued} waiting`
  );
}

/** Sends until a signal comes; a server that is away is waited for. */
async function follow(io: Io, options: DrainOptions, sender: SenderOptions): Promise<ExitCode> {
  const signals = listenForSignals();
  try {
    await sendOn({
      ...sender,
      signal: signals.stop,
      tickMs: options.every ?? TICK_MS,
      target: () => targetOf(io, options),
      tell: (sent, wait_ms) => {
        if (options.json) return io.out(JSON.stringify({ ...sent, wait_ms }));
        if ('uploaded' in sent) io.out(lineOf(sent));
        const seconds = Math.ceil(wait_ms / 1_000);
        if (sent.stopped !== null) io.err(`stopped: ${sent.stopped}; again in ${seconds} s`);
      },
    });
  } finally {
    signals.release();
  }
  return EXIT.ok;
}

/** @returns ms */
function everySeconds(value: string): number {
  const seconds = Number(value);
  if (/^\d+$/.test(value) && seconds >= 1 && seconds <= EVERY_SECONDS_MAX) return seconds * 1_000;
  throw new InvalidArgumentError(`It must be 1 to ${EVERY_SECONDS_MAX}.`);
}

async function retry(io: Io, options: RetryOptions): Promise<ExitCode> {
  const failed = options.failed === true;
  const told = await withQueue(io, options, (queue) => queue.retry({ failed }));
  if (options.json) io.out(JSON.stringify(told));
  else io.out(`${told.due} due now, ${told.requeued} put back, ${told.kept} still given up`);
  return EXIT.ok;
}
