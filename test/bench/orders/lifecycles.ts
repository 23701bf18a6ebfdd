import path from 'node:path';
import type { Broker } from '#libs/broker';
import type { AnyEvent, EventType, JobMessage } from '#libs/contracts';
import { type EventLog, jobSubject, ledgerTail, openEventLog } from '#libs/eventlog';
import { createWorktree, openTheater, prepareWorktree, type Theater } from '#libs/worktrees';
import type { Lab } from '../lab.ts';
import { perSecond } from '../stats.ts';
import { followEndings } from './endings.ts';
import { inLanes, type Round } from './limit.ts';
import { orderJson } from './order-json.ts';

const AUTHOR = { name: 'Bench', email: 'bench@localhost' };

export type Mode = 'on' | 'off';

/**
 * Orders one by one through the queue and one worker. This process does what the officer and the
 * vault do for an order; with worktrees off, its folder is there before the clock starts.
 */
export async function openLifecycles(lab: Lab, sizeOf: (mode: Mode) => number) {
  const server = await lab.broker();
  const broker = await server.connect();
  const folder = await lab.folder();
  const log = openEventLog({ broker, garrisonId: 'local' });
  const theaters = { on: await open(log, folder, 'on'), off: await open(log, folder, 'off') };
  await lab.child('worker.ts', { NATS_URL: server.url, IRONCLAW_STATE: folder });
  let round = 0;

  return async (mode: Mode): Promise<Round> => {
    round += 1;
    const theater = theaters[mode];
    const orders = Array.from({ length: sizeOf(mode) }, (_, i) => `${mode}_${round}_${i}`);
    if (mode === 'off') for (const orderId of orders) await createWorktree({ theater, orderId });
    const tail = await ledgerTail(broker);
    const endings = followEndings(broker, tail + 1, ({ type, order_id: id }) => {
      if (type === 'ORDER_COMPLETED') return { id, ok: true };
      return type === 'ORDER_FAILED' ? { id, ok: false } : undefined;
    });
    const startedAt = performance.now();
    await inLanes(orders, async (orderId) => {
      await begin(broker, log, theater, mode, orderId);
      await endings.of(orderId);
    });
    const rate = perSecond(orders.length, performance.now() - startedAt);
    endings.close();
    const messages = ((await ledgerTail(broker)) - tail) / orders.length;
    return { rate, messages };
  };
}

async function open(log: EventLog, folder: string, theaterId: string): Promise<Theater> {
  const theater = await openTheater({
    theaterId,
    repoPath: path.join(folder, theaterId, 'repo'),
    author: AUTHOR,
    timestampSec: Math.floor(Date.now() / 1_000),
  });
  const {
    repoPath: repo_path,
    worktreesPath: worktrees_path,
    mainline,
    headSha: head_sha,
  } = theater;
  const payload = { repo_path, worktrees_path, mainline, head_sha };
  await log.append(toEvent(log, 'THEATER_OPENED', theaterId, null, payload));
  return theater;
}

async function begin(
  { js }: Broker,
  log: EventLog,
  theater: Theater,
  mode: Mode,
  orderId: string,
): Promise<void> {
  const { theaterId } = theater;
  const { worktreePath, branch, baseSha } = await createWorktree({ theater, orderId });
  if (mode === 'on') {
    const files = [{ path: 'order.json', text: orderJson(theaterId, orderId) }];
    await prepareWorktree({ worktreePath, files, exclude: ['state.json', 'inputs'] });
  }
  const made = { worktree_path: worktreePath, branch };
  const event = (type: EventType, payload: object) =>
    toEvent(log, type, theaterId, orderId, payload);
  await log.appendBatch([
    {
      event: event('ORDER_CREATED', { step: 'draft', type: 'draft', objective: 'Do nothing' }),
      expect: 0,
    },
    { event: event('WORKTREE_CREATED', { ...made, base_sha: baseSha }) },
    { event: event('WORKTREE_READY', made) },
    { event: event('ORDER_ENQUEUED', { attempt: 1, class: 'default' }) },
  ]);
  const job: JobMessage = {
    job_type: 'EXECUTE_ORDER',
    order_id: orderId,
    theater_id: theaterId,
    worktree_path: worktreePath,
    attempt: 1,
  };
  await js.publish(jobSubject(theaterId, 'default'), JSON.stringify(job), {
    msgID: `${orderId}:1`,
  });
}

function toEvent(
  { defaults }: EventLog,
  type: EventType,
  theater_id: string,
  order_id: string | null,
  payload: object,
): AnyEvent {
  return {
    event_id: defaults.newId(),
    ts: defaults.now().toISOString(),
    type,
    garrison_id: 'local',
    theater_id,
    run_id: null,
    order_id,
    unit_id: null,
    payload,
  } as AnyEvent;
}
