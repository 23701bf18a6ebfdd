import { API, type InputOf, type Role } from '#libs/contracts';
import { createAggregateStore, ledgerSubject } from '#libs/eventlog';
import { eventIdFor, type OrderState } from '#libs/orders';
import { command, publishJob, type RoleContext } from '#libs/runtime';
import {
  evolveGarrison,
  expectedOf,
  NO_GARRISON,
  type Probe,
  tellEdges,
  tellTick,
  type Tick,
  tickKey,
} from './garrison.ts';
import { waitsLong } from './overdue.ts';
import { createRecovery, type Recovery } from './recover.ts';
import { eachOf, liveOrders, openTheaters, queuedJobs } from './scan.ts';
import { probeAll } from './services.ts';

/** What one patrol did. */
export type Patrolled = {
  tick_id: string;
  reissued: string[];
  failed: string[];
  requeued: string[];
  quarantined: string[];
  patrolled: string[];
  services: Probe[];
};

export type Patrol = {
  /** One patrol; nothing more than its id where this tick was told before. */
  run(tick: Tick): Promise<Patrolled>;
  /** Learns which roles are there, so that they are missed when they go. */
  look(): Promise<void>;
};

const ORDERS_AT_ONCE = 8;
const THEATERS_AT_ONCE = 4;
/** One theater's observer may take so long, and all of them. */
const THEATER_MS = 15_000;
const OBSERVERS_MS = 60_000;

/** A dependency that is away leaves its part undone and is told of; the patrol itself goes on. */
export function createPatrol(context: RoleContext): Patrol {
  const { config, log, logger } = context;
  const { garrisonId } = config;
  const subject = ledgerSubject({ garrison_id: garrisonId });
  const store = createAggregateStore(log.broker, NO_GARRISON, evolveGarrison);
  const recovery = createRecovery(context);
  const heard = new Set<string>();

  const probes = async (): Promise<Probe[]> => {
    const { state } = await store.load(subject);
    const awaited = expectedOf(state, [...config.expectRoles, ...heard]);
    const found = await probeAll(context, awaited);
    for (const { service, healthy } of found) if (healthy) heard.add(service);
    return found.filter(({ service, healthy }) => healthy || awaited.has(service));
  };

  return {
    look: async () => void (await probes()),
    run: async (tick) => {
      const done: Patrolled = {
        tick_id: eventIdFor(garrisonId, tickKey(tick)),
        reissued: [],
        failed: [],
        requeued: [],
        quarantined: [],
        patrolled: [],
        services: await probes(),
      };
      const roles = done.services.filter(({ healthy }) => healthy).map(({ service }) => service);
      const about = { garrisonId, periodMs: config.patrolMs, roles };
      const told = await command(log, store, subject, ({ state }) => tellTick(state, tick, about));
      if (told.drafts.length === 0) return done;
      await command(log, store, subject, ({ state }) =>
        tellEdges(state, done.services, garrisonId),
      );
      if (!isUp(done.services, 'ledger')) return done;
      const attempt = async (part: string, work: () => Promise<void>): Promise<void> => {
        try {
          await work();
        } catch (error) {
          logger.warn({ err: error, part }, 'a part of the patrol was not done');
        }
      };
      if (isUp(done.services, 'observer')) {
        await attempt('observers', () => askObservers(context, done));
      }
      await attempt('orders', () => lookAtOrders(context, recovery, done));
      return done;
    },
  };
}

function isUp(services: readonly Probe[], role: Role): boolean {
  return services.some(({ service, healthy }) => service === role && healthy);
}

async function askObservers(context: RoleContext, done: Patrolled): Promise<void> {
  const { client, logger } = context;
  const signal = AbortSignal.timeout(OBSERVERS_MS);
  await eachOf(await openTheaters(context), THEATERS_AT_ONCE, async (theater_id) => {
    try {
      const input: InputOf<typeof API.observer.patrol> = { theater_id };
      await client.call(API.observer.patrol, input, { timeoutMs: THEATER_MS, signal });
      done.patrolled.push(theater_id);
    } catch (error) {
      logger.warn({ err: error, theater_id }, 'the observer did not patrol');
    }
  });
}

async function lookAtOrders(
  context: RoleContext,
  recovery: Recovery,
  done: Patrolled,
): Promise<void> {
  const isLost = jobFinder(context);
  const look = async (order: OrderState): Promise<void> => {
    const { order_id } = order;
    if (order.status !== 'QUEUED') {
      const outcome = await recovery.recover(order);
      if (outcome.reissued) done.reissued.push(order_id);
      if (outcome.failed) done.failed.push(order_id);
      if (outcome.quarantined) done.quarantined.push(order_id);
    } else if (order.enqueued_at === null && order.attempt > 1) {
      // Who reissued it died before it was on the queue.
      if (await recovery.requeue(order)) done.requeued.push(order_id);
    } else if (await isLost(order)) {
      await publishJob(context, order);
      done.requeued.push(order_id);
    }
  };
  await eachOf(liveOrders(context), ORDERS_AT_ONCE, async (order) => {
    try {
      await look(order);
    } catch (error) {
      const { order_id } = order;
      context.logger.warn({ err: error, order_id }, 'not recovered; the next patrol tries again');
    }
  });
}

/**
 * Tells whether the job of an order that has waited for long is gone. One that stands in a long
 * queue, or in one that is paused, is there. Each queue is looked through once in a patrol.
 */
function jobFinder(context: RoleContext): (order: OrderState) => Promise<boolean> {
  const { config, log } = context;
  const queues = new Map<string, Promise<ReadonlySet<string> | null>>();
  return async (order) => {
    const { theater_id, order_id, attempt } = order;
    const nowMs = log.defaults.now().getTime();
    if (theater_id === null || !waitsLong(order, nowMs, config.queueStallMs)) return false;
    const queue = queues.get(theater_id) ?? queuedJobs(context, theater_id);
    queues.set(theater_id, queue);
    const jobs = await queue;
    return jobs !== null && !jobs.has(`${order_id}/${attempt}`);
  };
}
