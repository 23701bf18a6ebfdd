import { planStreams } from '#libs/broker';
import { API, isAppError } from '#libs/contracts';
import { STREAMS } from '#streams';
import type { Command } from 'commander';
import type { Client } from '../client.ts';
import {
  checkDisk,
  checkGit,
  checkModel,
  checkNode,
  checkPort,
  checkServer,
  checkState,
  fail,
  type Finding,
  ok,
  warn,
} from '../doctor/checks.ts';
import { settingsOf } from '../env.ts';
import { EXIT, type ExitCode, Failure } from '../failure.ts';
import { printable } from '../format.ts';
import { type Io, paint } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  runningOn,
  withConnection,
  withExamples,
  type Run,
} from '../options.ts';
import { openBroker } from './streams.ts';

type DoctorOptions = ConnectionOptions & { model?: true };

const ROLES = [API.gateway, API.ledger, API.co, API.vault, API.integration, API.worker];
const HEALTH_MS = 5_000;
const COLOURS = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

export function doctorCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('doctor')
    .summary('find what is wrong with this machine, and how to mend it')
    .description(
      'Checks this machine, the settings, and the system that runs. Exit code 1 where a check failed.',
    )
    .option('--model', 'also ask the model one tiny question')
    .action((options: DoctorOptions) => run(() => doctor(io, options)));
  withExamples(withConnection(command), ['doctor', 'doctor --model', 'doctor --json']);
}

async function doctor(io: Io, options: DoctorOptions): Promise<ExitCode> {
  const { state, url } = options;
  const { env, config } = settingsOf(io.env, { ...(state !== undefined && { state }) });
  const { running } = runningOn(io, state);
  const external = Boolean(env.NATS_URL);
  const system = running !== undefined || url !== undefined || Boolean(env.IRONCLAW_URL);
  const broker = running !== undefined || external;
  const checks: [string, () => Finding | Promise<Finding>][] = [
    ['node', () => checkNode(process.versions.node)],
    ['broker', () => (external ? ok('the one at NATS_URL is used') : checkServer(env))],
    ['git', checkGit],
    ['state', () => checkState(config.stateDir)],
    ['disk', () => checkDisk(config.stateDir, !external)],
    ['port', () => (running ? ok(`the running system has ${running.url}`) : checkPort(config))],
    ['model', () => checkModel(env, options.model === true)],
    ['system', () => (system ? checkSystem(connectTo(io, options)) : notRunning())],
    ['streams', () => (broker ? checkStreams(io, options) : notRunning())],
  ];
  const found: (Finding & { check: string })[] = [];
  for (const [check, look] of checks) {
    const finding = { check, ...(await look()) };
    found.push(finding);
    if (!options.json) io.out(line(io, finding));
  }
  const failed = found.filter((finding) => finding.state === 'fail').length;
  if (options.json) io.out(JSON.stringify({ ok: failed === 0, checks: found }));
  else io.out(failed === 0 ? '\nNothing stands in the way.' : `\n${failed} to mend.`);
  return failed === 0 ? EXIT.ok : EXIT.failed;
}

function line(io: Io, { check, state, detail, fix }: Finding & { check: string }): string {
  const mark = paint(io.colours.out, COLOURS[state], state.padEnd(4));
  const text = `${mark}  ${check.padEnd(8)} ${printable(detail)}`;
  return fix === undefined ? text : `${text}\n               ${printable(fix)}`;
}

function notRunning(): Finding {
  return ok('not running; ironclaw up starts it');
}

/** Asks every role, through the gateway, whether it is able to work. */
async function checkSystem(client: Client): Promise<Finding> {
  const sick: string[] = [];
  for (const { health } of ROLES) {
    try {
      const { status } = await client.call(health, {}, { timeoutMs: HEALTH_MS });
      if (status !== 'ok') sick.push(`${health.role} is ${status}`);
    } catch (error) {
      if (error instanceof Failure && error.exitCode === EXIT.unreachable) {
        return fail(error.message, 'Look into the log folder of its state, and start it again.');
      }
      if (!isAppError(error)) throw error;
      sick.push(`${health.role}: ${error.message}`);
    }
  }
  if (sick.length === 0) return ok(`all ${ROLES.length} roles at ${client.url} are well`);
  return fail(sick.join('; '), 'Look into the log folder of its state; restart what is missing.');
}

async function checkStreams(io: Io, options: ConnectionOptions): Promise<Finding> {
  try {
    const broker = await openBroker(io, options);
    try {
      const plan = await planStreams(broker.jsm, STREAMS);
      const differ = plan.filter(({ action }) => action !== 'none').map(({ stream }) => stream);
      if (differ.length === 0) {
        return ok(
          `${STREAMS.length} streams on nats-server ${broker.serverVersion} are as declared`,
        );
      }
      return warn(`${differ.join(', ')} differ`, 'See: ironclaw streams plan');
    } finally {
      await broker.close();
    }
  } catch (error) {
    if (!(error instanceof Failure) && !isAppError(error)) throw error;
    return fail(error.message, 'Check NATS_URL and NATS_TOKEN, or start the broker.');
  }
}
