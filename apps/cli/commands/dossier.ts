import { join, resolve } from 'node:path';
import { AppError, invalid } from '#libs/contracts';
import {
  type BodyQueue,
  drainEventQueue,
  drainQueue,
  lockDrain,
  openEventQueue,
  openQueue,
  pushBody,
  readUpload,
  scanMission,
  type Skipped,
} from '#libs/dossier';
import { loadGate } from '#libs/missionlog';
import type { Command } from 'commander';
import { findCheckout, findMission } from '../checkout.ts';
import { settingsOf } from '../env.ts';
import { EXIT, type ExitCode, unreachable } from '../failure.ts';
import { ago, facts, size, table } from '../format.ts';
import type { Io } from '../io.ts';
import { runningOn, withExamples, withJson, withState } from '../options.ts';

type QueueOptions = { json?: true; state?: string; queue?: string };
type ScanOptions = QueueOptions & { repo?: string };
type DrainOptions = QueueOptions & { server?: string; token?: string };
type RetryOptions = QueueOptions & { failed?: true };

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
    .action((mission: string, options: ScanOptions) => run(() => scan(io, mission, options)));
  add('drain', 'Send all that is due, once.')
    .option('--server <url>', 'where to (IRONCLAW_DOSSIER_SERVER; else what runs on --state)')
    .option('--token <token>', 'a token for it (IRONCLAW_DOSSIER_TOKEN)')
    .action((options: DrainOptions) => run(() => drain(io, options)));
  add('retry', 'Make all that waits due now.')
    .option('--failed', 'put back what was given up, too')
    .action((options: RetryOptions) => run(() => retry(io, options)));
  withExamples(command, [
    'dossier scan 064-my-mission',
    'dossier drain --server https://missions.example.com',
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
  await withQueue(io, options, async (queue) => {
    for (const artifact of found.artifacts) {
      const read = await readUpload(mission.dir, mission.path, mission.namespace, artifact);
      if (!read.ok) {
        skipped.push({ path: artifact.path, reason: read.reason });
        continue;
      }
      gate.body('body queue', read.upload);
      counts[queue.enqueue(read.upload)] += 1;
    }
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

/** Where bodies go, and who says so. */
function serverOf(io: Io, options: DrainOptions): { server: string; token: string | undefined } {
  const named = options.server ?? io.env.IRONCLAW_DOSSIER_SERVER;
  const token = options.token ?? (io.env.IRONCLAW_DOSSIER_TOKEN || io.env.IRONCLAW_TOKEN);
  if (named !== undefined && named !== '') {
    if (!URL.canParse(named) || !/^https?:/.test(named)) {
      throw invalid('server', `${named} is no http or https URL`);
    }
    return { server: named, token };
  }
  const { running, stateDir } = runningOn(io, options.state);
  if (running === undefined) {
    throw unreachable('The server of dossiers', `none is named, and nothing runs on ${stateDir}`);
  }
  return { server: running.url, token };
}

async function drain(io: Io, options: DrainOptions): Promise<ExitCode> {
  const target = serverOf(io, options);
  const gate = loadGate(io.env);
  const lock = lockDrain(queueFile(io, options));
  if (lock === undefined) {
    throw new AppError('ALREADY_RUNNING', { path: queueFile(io, options), pid: 'unknown' });
  }
  const nowMs = (): number => Date.now();
  const events = openEventQueue(queueFile(io, options), { nowMs });
  try {
    return await withQueue(io, options, async (queue) => {
      const drained = await drainQueue({
        queue,
        gate: (upload) => gate.body('body upload', upload),
        nowMs,
        drainEvents: async () => {
          const reason = await drainEventQueue({
            queue: events,
            gate: (event) => gate.envelope('replay', event),
            ...target,
          });
          if (reason !== null) io.err(`the events cannot be sent: ${reason}`);
          return reason === null;
        },
        push: (upload) => pushBody(upload, target),
      });
      const { queued } = queue.status();
      const { queued: events_queued, set_aside: events_set_aside } = events.status();
      const told = { ...drained, queued, events_queued, events_set_aside };
      if (options.json) io.out(JSON.stringify(told));
      else {
        const { uploaded, already_exists, retrying, failed, exhausted, stopped } = drained;
        const gone = failed + exhausted;
        io.out(
          `${uploaded} stored, ${already_exists} there before, ${retrying} to be tried again, ` +
            `${gone} given up, ${queued} waiting`,
        );
        if (stopped !== null) io.err(`stopped: ${stopped}; see ironclaw dossier status`);
      }
      if (drained.stopped === 'unreachable') return EXIT.unreachable;
      const isAllDone = drained.retrying + drained.failed + drained.exhausted === 0;
      return isAllDone && drained.stopped === null ? EXIT.ok : EXIT.failed;
    });
  } finally {
    events.close();
    lock.release();
  }
}

async function retry(io: Io, options: RetryOptions): Promise<ExitCode> {
  const failed = options.failed === true;
  const told = await withQueue(io, options, (queue) => queue.retry({ failed }));
  if (options.json) io.out(JSON.stringify(told));
  else io.out(`${told.due} due now, ${told.requeued} put back, ${told.kept} still given up`);
  return EXIT.ok;
}
