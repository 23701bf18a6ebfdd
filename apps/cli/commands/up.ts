import { join } from 'node:path';
import { modelFromEnv } from '#libs/models';
import { openSettings } from '#libs/runtime';
import { type Command, InvalidArgumentError } from 'commander';
import { type Env, settingsOf, VERSION } from '../env.ts';
import { EXIT, type ExitCode, Failure } from '../failure.ts';
import { facts } from '../format.ts';
import { type Io, paint } from '../io.ts';
import { isAppError } from '#libs/contracts';
import { withExamples, withJson, withState, type Run } from '../options.ts';
import { aborted, listenForSignals, type Signals } from '../signals.ts';
import { problemLine } from '../problem-line.ts';
import { startSystem, type System } from '../supervisor/system.ts';

type UpOptions = {
  state?: string;
  host?: string;
  port?: string;
  workers: number;
  sync: string;
  json?: true;
};

const WORKERS_MAX = 64;
/** A text to try it on. */
const TRANSCRIPT = join(import.meta.dirname, '..', 'demo', 'call-transcript.md');

export function upCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('up')
    .summary('run the whole system until Ctrl-C')
    .description(
      'Runs the broker, all roles and the workers until Ctrl-C, with its state under --state. ' +
        'With NATS_URL set it uses that broker instead of one of its own.',
    )
    .option('--workers <number>', 'worker processes', workerCount, 1)
    .option('--host <address>', 'address of the HTTP API (IRONCLAW_HOST, 127.0.0.1)')
    .option('--port <number>', 'port of the HTTP API, 0 for a free one (IRONCLAW_PORT, 7410)')
    .option(
      '--sync <when>',
      'when the broker forces data to disk: always, or as 2m',
      syncTime,
      'always',
    )
    .action((options: UpOptions) => run(() => up(io, options)));
  withExamples(withJson(withState(command)), [
    'up',
    'up --workers 4 --port 8080',
    'up --state /srv/ironclaw --sync 2m',
  ]);
}

async function up(io: Io, options: UpOptions): Promise<ExitCode> {
  const { env, config } = settingsOf(io.env, options);
  // Refuses at once what a role would refuse as it starts.
  openSettings(env);
  const model = modelFromEnv(env);
  const signals = listenForSignals();
  const notice = (line: string): void => io.err(paint(io.colours.err, 'dim', line));
  let system: System;
  try {
    system = await startSystem({
      config,
      env,
      workers: options.workers,
      sync: options.sync,
      natsUrl: env.NATS_URL || undefined,
      onNotice: notice,
      onProblem: (name, record) => io.err(problemLine(io.colours.err, name, record)),
      stop: signals.stop,
      kill: signals.force,
    });
  } catch (error) {
    if (signals.stop.aborted) return EXIT.ok;
    throw withHint(error, config.host, config.port);
  }
  const { url, natsUrl } = system;
  if (options.json) {
    const { stateDir: state } = config;
    io.out(JSON.stringify({ url, nats_url: natsUrl, state, pid: process.pid, version: VERSION }));
  } else {
    io.out(welcome(io, system, config.stateDir, model.announcement, env));
  }
  return waitForEnd(io, system, signals);
}

async function waitForEnd(io: Io, system: System, signals: Signals): Promise<ExitCode> {
  const failure = await Promise.race([aborted(signals.stop), system.failed]);
  if (failure !== undefined) {
    io.err('stopping, as a part cannot be kept running');
    await system.stop();
    throw failure;
  }
  io.err('stopping; Ctrl-C again to force it');
  await system.stop();
  io.err('stopped');
  return EXIT.ok;
}

function welcome(io: Io, system: System, stateDir: string, model: string, env: Env): string {
  const at = env.IRONCLAW_STATE ? ` --state ${stateDir}` : '';
  const rows = facts([
    ['API', system.url],
    ['Docs', `${system.url}/docs`],
    ['NATS', system.natsUrl],
    ['State', stateDir],
    ['Model', model],
  ]);
  return [
    '',
    paint(io.colours.out, 'bold', `IronClaw ${VERSION} is up`),
    rows,
    '',
    'Try, in another terminal:',
    `  npx ironclaw chat "Summarise the call" --file call.md=${TRANSCRIPT} \\`,
    `    --playbook filesystem_agent.call_summary${at}`,
    `  npx ironclaw events --follow${at}`,
    '',
    'Ctrl-C stops it; the state stays.',
  ].join('\n');
}

/** The error of a taken port says which option helps. */
function withHint(error: unknown, host: string, port: number): unknown {
  const taken = isAppError(error, 'ALREADY_RUNNING') && error.message.includes(`${host}:${port}`);
  if (!taken) return error;
  return new Failure(
    error,
    EXIT.failed,
    'Choose another port: --port 8080, or --port 0 for a free one.',
  );
}

function workerCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= WORKERS_MAX) return count;
  throw new InvalidArgumentError(`It must be 1 to ${WORKERS_MAX}.`);
}

function syncTime(text: string): string {
  if (text === 'always' || /^[1-9]\d{0,5}(s|m)$/.test(text)) return text;
  throw new InvalidArgumentError('It must be always, or a time as 10s or 2m.');
}
