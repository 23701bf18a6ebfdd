import {
  applyStreams,
  type Broker,
  brokerAuthFromEnv,
  connectBroker,
  planStreams,
  type StreamPlan,
} from '#libs/broker';
import { isAppError } from '#libs/contracts';
import { createLogger } from '#libs/telemetry';
import { type StreamDeclaration, streamsWithReplicas } from '#streams';
import { type Command, Option } from 'commander';
import { EXIT, type ExitCode, unreachable } from '../failure.ts';
import { table } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type JsonOption,
  runningOn,
  withExamples,
  withJson,
  withState,
  type Run,
} from '../options.ts';

type StreamsOptions = JsonOption & { state?: string; nats?: string; replicas: string };
type Action = 'plan' | 'apply' | 'check';

const SAID: Record<Action, string> = {
  plan: 'What apply would do; changes nothing.',
  apply: 'Create what is missing and change what loses nothing; the rest is left to you.',
  check: 'Exit code 1 where a stream differs from its declaration.',
};
const CONNECT_MS = 3_000;

export function streamsCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('streams')
    .summary('compare the streams with their declarations, and apply them')
    .description('The streams of the broker at NATS_URL, or of what runs on --state.');
  for (const action of ['plan', 'apply', 'check'] as const) {
    const one = command
      .command(action)
      .description(SAID[action])
      .option('--nats <url>', 'the broker (NATS_URL; else that of what runs on --state)')
      .addOption(
        new Option('--replicas <n>', 'copies of each message: 1, or 3 or 5 on a cluster')
          .choices(['1', '3', '5'])
          .default('1'),
      )
      .action((options: StreamsOptions) => run(() => streams(io, action, options)));
    withJson(withState(one));
  }
  withExamples(command, ['streams plan', 'streams apply', 'streams check --nats nats://host:4222']);
}

async function streams(io: Io, action: Action, options: StreamsOptions): Promise<ExitCode> {
  const broker = await openBroker(io, options);
  const wanted = streamsWithReplicas(Number(options.replicas));
  try {
    const plan =
      action === 'apply'
        ? await apply(io, broker, wanted, options)
        : await planStreams(broker.jsm, wanted);
    if (options.json) io.out(JSON.stringify({ streams: plan }));
    else io.out(planTable(io, plan));
    const undone = plan.some(({ action: what }) =>
      action === 'check' ? what !== 'none' : what === 'blocked',
    );
    return undone && action !== 'plan' ? EXIT.failed : EXIT.ok;
  } finally {
    await broker.close();
  }
}

async function apply(
  io: Io,
  broker: Broker,
  wanted: readonly StreamDeclaration[],
  options: StreamsOptions,
): Promise<StreamPlan[]> {
  const done: StreamPlan[] = [];
  for (const stream of wanted) {
    const plans = await applyStreams(broker.jsm, [stream]);
    for (const plan of plans) {
      if (!options.json && plan.action !== 'none') io.err(`${plan.stream}: ${plan.action}`);
    }
    done.push(...plans);
  }
  return done;
}

/**
 * The broker that is named, or the running system's.
 * @throws {Failure} with exit code 3: there is none
 */
export async function openBroker(
  io: Io,
  options: { state?: string; nats?: string },
): Promise<Broker> {
  const { running, stateDir } = runningOn(io, options.state);
  const named = options.nats ?? (io.env.NATS_URL || undefined);
  const url = named ?? running?.nats_url;
  if (url === undefined) {
    throw unreachable('The broker', `NATS_URL is not set and nothing runs on ${stateDir}`);
  }
  const token = named === undefined ? running?.nats_token : undefined;
  try {
    return await connectBroker({
      url,
      name: 'ironclaw-cli',
      logger: createLogger({ name: 'cli', level: 'silent' }),
      auth: { ...brokerAuthFromEnv(io.env), ...(token !== undefined && { token }) },
      connectTimeoutMs: CONNECT_MS,
    });
  } catch (error) {
    if (isAppError(error, 'DEPENDENCY_UNAVAILABLE')) {
      const { message: reason } = (error.cause ?? error) as Error;
      throw unreachable(`The broker at ${url}`, reason, error);
    }
    throw error;
  }
}

function planTable(io: Io, plan: readonly StreamPlan[]): string {
  const rows = plan.map(({ stream, action, changes, reason }) => [
    stream,
    action === 'none' ? 'as declared' : action,
    changes.map(({ field, have, want }) => `${field}: ${show(have)} -> ${show(want)}`).join(', '),
    reason,
  ]);
  const heads = ['stream', 'state', 'changes', 'why not'];
  return table(heads, rows, { colours: io.colours.out, none: 'no streams' });
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
