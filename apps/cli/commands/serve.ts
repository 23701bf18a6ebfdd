import { type Role, ROLES } from '#libs/contracts';
import { createLogger } from '#libs/telemetry';
import { type Command, Option } from 'commander';
import type { Level } from 'pino';
import { settingsOf, VERSION, withSettings } from '../env.ts';
import { EXIT, type ExitCode, unreachable, usage } from '../failure.ts';
import type { Io } from '../io.ts';
import { runningOn, withExamples, withState, type Run } from '../options.ts';
import { makeStateFolder } from '../state-folder.ts';
import { aborted, listenForSignals } from '../signals.ts';
import { beatForever, isSupervised, tellFailure, tellReady } from '../supervisor/messages.ts';

type ServeOptions = {
  state?: string;
  theater?: string;
  host?: string;
  port?: string;
  http: boolean;
};

/** A supervisor that is gone is not asked twice: what cannot end in time is killed. */
const ORPHAN_GRACE_MS = 3_000;
const LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

export function serveCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('serve')
    .summary('run some roles in this process')
    .description(
      'Runs roles in this process against the broker at NATS_URL, or that of the `ironclaw up` that runs on --state. ' +
        `Roles: ${ROLES.join(', ')}.`,
    )
    .argument('<role...>', 'one or more roles')
    .addOption(new Option('--theater <ids>', 'theaters that a worker serves, separated by commas'))
    .option('--host <address>', 'address of the HTTP API (IRONCLAW_HOST, 127.0.0.1)')
    .option(
      '--port <number>',
      'port of the HTTP API (IRONCLAW_PORT; else 7410 for the gateway, a free one for others)',
    )
    .option('--no-http', 'serve over NATS alone')
    .action((roles: string[], options: ServeOptions) => run(() => serve(io, roles, options)));
  withExamples(withState(command), [
    'serve worker --theater demo',
    'serve gateway co --port 8080',
    'serve ledger vault integration --no-http',
  ]);
}

async function serve(io: Io, names: readonly string[], options: ServeOptions): Promise<ExitCode> {
  const supervised = isSupervised(io.env);
  const signals = listenForSignals();
  if (supervised) {
    // It may have gone while this process was loading.
    if (!process.connected) return EXIT.failed;
    process.once('disconnect', () => {
      setTimeout(() => process.exit(EXIT.failed), ORPHAN_GRACE_MS);
      process.kill(process.pid, 'SIGTERM');
    });
    void beatForever();
  }
  const given = io.env.IRONCLAW_LOG_LEVEL ?? '';
  const level = LEVELS.includes(given) ? (given as Level | 'silent') : 'info';
  const logger = createLogger({ name: 'ironclaw', level, env: io.env });
  try {
    const roles = rolesOf(names);
    const { env, config } = settingsOf(io.env, {
      ...options,
      ...(defaultPort(io, roles, options) && { port: '0' }),
    });
    const { natsUrl, natsToken } = brokerOf(io, options.state);
    makeStateFolder(config.stateDir);
    const { startHost } = await import('../host.ts');
    const host = await startHost({
      roles,
      natsUrl,
      config,
      env: withSettings(env, { NATS_TOKEN: env.NATS_TOKEN ?? natsToken }),
      logger,
      version: VERSION,
      http: options.http,
    });
    const url = host.http?.url ?? null;
    if (supervised) tellReady(url);
    else io.out(`${roles.join(', ')} ready${url === null ? '' : ` at ${url}`} on ${natsUrl}`);
    await aborted(signals.stop);
    signals.force.addEventListener('abort', () => process.exit(130));
    await host.close();
    return EXIT.ok;
  } catch (error) {
    if (!supervised) throw error;
    // The supervisor shows what it is told; a defect of ours is shown from the log.
    const told = await tellFailure(error);
    logger[told ? 'info' : 'error']({ err: error }, 'cannot start');
    return EXIT.failed;
  }
}

/** @throws {Failure} with the list, where a name is no role */
function rolesOf(names: readonly string[]): Role[] {
  const unknown = names.find((name) => !(ROLES as readonly string[]).includes(name));
  if (unknown === undefined) return [...new Set(names)] as Role[];
  throw usage(`there is no role ${unknown}`, `Roles: ${ROLES.join(', ')}.`);
}

/** The well-known port is the gateway's; another role beside it must not fail for want of it. */
function defaultPort(io: Io, roles: readonly Role[], options: ServeOptions): boolean {
  return options.port === undefined && !io.env.IRONCLAW_PORT && !roles.includes('gateway');
}

function brokerOf(io: Io, state: string | undefined) {
  if (io.env.NATS_URL) return { natsUrl: io.env.NATS_URL, natsToken: undefined };
  const { running, stateDir } = runningOn(io, state);
  if (running === undefined) {
    throw unreachable('The broker', `NATS_URL is not set and nothing runs on ${stateDir}`);
  }
  return { natsUrl: running.nats_url, natsToken: running.nats_token };
}
