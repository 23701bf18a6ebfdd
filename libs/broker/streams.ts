import { AppError } from '#libs/contracts';
import type { StreamDeclaration } from '#streams';
import {
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  type StreamInfo,
} from '@nats-io/jetstream';
import { brokerUnavailable, isBrokerUnavailable } from './failures.ts';
import { planUpdate, type StreamChange, type StreamPlan, toStreamConfig } from './stream-plan.ts';

const NAME_IN_USE = 10058;
const ATTEMPTS = 5;

/** Compares each declared stream with the server's; changes nothing. */
export async function planStreams(
  jsm: JetStreamManager,
  streams: readonly StreamDeclaration[],
): Promise<StreamPlan[]> {
  return Promise.all(streams.map((stream) => planStream(jsm, stream)));
}

/**
 * Creates what is missing and makes the changes that lose nothing. Blocked streams stay as they
 * are. Answers what was done, so a second call answers `none`. Safe to run several times at once.
 *
 * @throws {DEPENDENCY_UNAVAILABLE} the server refuses, as for want of disk or of servers
 */
export async function applyStreams(
  jsm: JetStreamManager,
  streams: readonly StreamDeclaration[],
): Promise<StreamPlan[]> {
  const done: StreamPlan[] = [];
  for (const stream of streams) done.push(await applyStream(jsm, stream));
  return done;
}

/**
 * More replicas than declared are right: the declarations are for one server.
 *
 * @throws {STREAM_DRIFT} a stream is missing or differs; `details.plan` has all that do
 */
export async function checkStreams(
  jsm: JetStreamManager,
  streams: readonly StreamDeclaration[],
): Promise<void> {
  const plan = (await planStreams(jsm, streams)).filter(
    ({ action, changes }) => action === 'create' || changes.some((change) => !isStronger(change)),
  );
  const first = plan[0];
  if (first === undefined) return;
  const missing = first.action === 'create';
  const fields = missing
    ? 'everything: it does not exist'
    : first.changes.map(({ field }) => field).join(', ');
  throw new AppError('STREAM_DRIFT', { stream: first.stream, fields }, { details: { plan } });
}

function isStronger({ field, have, want }: StreamChange): boolean {
  return field === 'num_replicas' && Number(have) > Number(want);
}

async function planStream(jsm: JetStreamManager, stream: StreamDeclaration): Promise<StreamPlan> {
  const info = await streamInfo(jsm, stream.name);
  if (info === null) return { stream: stream.name, action: 'create', changes: [], reason: '' };
  return planUpdate(stream, info.config, info.state, Date.now());
}

async function applyStream(jsm: JetStreamManager, stream: StreamDeclaration): Promise<StreamPlan> {
  for (let attempt = 1; ; attempt++) {
    try {
      const plan = await planStream(jsm, stream);
      await execute(jsm, stream, plan);
      return plan;
    } catch (error) {
      // Somebody else was faster, or (on a cluster, where of several changes at the same time only
      // one is answered) the outcome is not known: look again at what is left to do.
      const again = hasCode(error, NAME_IN_USE) || isBrokerUnavailable(error);
      if (again && attempt < ATTEMPTS) continue;
      if (!again && !(error instanceof JetStreamApiError)) throw error;
      throw brokerUnavailable(`stream ${stream.name}: ${String(error)}`, error);
    }
  }
}

async function execute(
  jsm: JetStreamManager,
  stream: StreamDeclaration,
  plan: StreamPlan,
): Promise<void> {
  if (plan.action === 'create') await jsm.streams.add(toCreate(stream));
  if (plan.action !== 'update') return;
  const changes = Object.fromEntries(plan.changes.map(({ field, want }) => [field, want]));
  await jsm.streams.update(stream.name, changes);
}

function toCreate(stream: StreamDeclaration) {
  return { ...toStreamConfig(stream), name: stream.name };
}

async function streamInfo(jsm: JetStreamManager, name: string): Promise<StreamInfo | null> {
  try {
    return await jsm.streams.info(name);
  } catch (error) {
    if (hasCode(error, JetStreamApiCodes.StreamNotFound)) return null;
    throw error;
  }
}

function hasCode(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}
