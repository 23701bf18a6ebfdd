import { API, AppError, isAppError, LIMITS } from '#libs/contracts';
import { liveEvents, openEventLog } from '#libs/eventlog';
import type { Projection, Reader } from '#libs/projections';
import {
  followLedger,
  healthHandler,
  type RoleContext,
  type RunningRole,
  stateLayout,
} from '#libs/runtime';
import { defineService, reply } from '#libs/service';
import type { Logger } from 'pino';
import { createDeadLetters } from './dead.ts';
import { startExhausted } from './exhausted.ts';
import { startIntake } from './intake.ts';
import { recordMany, recordOne } from './record.ts';
import { listEscalations } from './views/escalations.ts';
import {
  countAll,
  findOrder,
  findRun,
  findTheater,
  listAnomalies,
  listOrders,
  listRuns,
  listTheaters,
} from './views/lists.ts';
import { findEvent, searchEvents } from './views/search.ts';
import { eventIndex, openLedgerViews } from './views/views.ts';

const POISON_LISTED = 100;

/** The record of facts and the views on it: appends from outside, searches, snapshots, live events. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, config, logger } = context;
  const folder = stateLayout(config.stateDir).views;
  const views = await openLedgerViews({ ...followLedger(broker), folder, logger });
  // Ids that callers chose are looked up in the views, for ever; the broker forgets them.
  const index = eventIndex(views);
  const log = openEventLog({ broker, garrisonId: config.garrisonId, index });
  const intake = startIntake(broker, log, logger);
  const exhausted = startExhausted(broker, log, logger);
  const read = createRead(views);

  const service = defineService(API.ledger, {
    append: async (input) => {
      const done = await recordOne(log, input);
      return reply(done, { status: done.duplicate ? 200 : 201 });
    },
    appendBatch: async (input) => {
      const events = await recordMany(log, input);
      const isNew = events.some(({ duplicate }) => !duplicate);
      return reply({ events }, { status: isNew ? 201 : 200 });
    },
    events: (input) => read(input, (reader) => searchEvents(reader, input)),
    event: async (input) => {
      await views.reflect(input.at_least);
      const event = views.read((reader) => findEvent(reader, input.event_id));
      return event ?? notFound('EVENT_NOT_FOUND', input.event_id, 'event_id');
    },
    runs: (input) => read(input, (reader) => listRuns(reader, input)),
    run: (input) =>
      read(
        input,
        (reader) =>
          findRun(reader, input.run_id) ?? notFound('RUN_NOT_FOUND', input.run_id, 'run_id'),
      ),
    orders: (input) => read(input, (reader) => listOrders(reader, input)),
    order: (input) =>
      read(
        input,
        (reader) =>
          findOrder(reader, input.order_id) ??
          notFound('ORDER_NOT_FOUND', input.order_id, 'order_id'),
      ),
    theaters: (input) => read(input, (reader) => listTheaters(reader, input)),
    theater: (input) =>
      read(
        input,
        (reader) =>
          findTheater(reader, input.theater_id) ??
          notFound('THEATER_NOT_FOUND', input.theater_id, 'theater_id'),
      ),
    anomalies: (input) => read(input, (reader) => listAnomalies(reader, input)),
    stats: (input) => read(input, (reader) => countAll(reader, input.theater_id)),
    escalations: (input) => read(input, (reader) => listEscalations(reader, input)),
    views: async () => ({ views: views.status(), poison: views.poison(POISON_LISTED) }),
    rebuildViews: async () => {
      views.rebuild().catch(logFailure(logger));
      return { started: true, views: views.status() };
    },
    stream: (input, ctx) => liveEvents(broker, config.garrisonId, input, ctx.signal),
    ...createDeadLetters(log, index, context.client),
    health: healthHandler(context, 'ledger'),
  });
  return {
    service,
    close: async () => {
      await Promise.all([intake.stop(), exhausted.stop()]);
      log.close();
      await views.close();
    },
  };
}

/** Answers from the views, once they reflect `at_least`, and says what they reflect. */
function createRead(views: Projection) {
  return async <T>(
    input: { at_least?: number | undefined },
    query: (reader: Reader) => T,
  ): Promise<T & { as_of: number }> => {
    await views.reflect(input.at_least);
    const look = () => views.read((reader) => ({ ...query(reader), as_of: reader.seq }));
    try {
      return look();
    } catch (error) {
      if (!isAppError(error) || error.status !== 404) throw error;
      // It may have been stored a moment ago: what level views do not have is not there.
      await views.catchUp({ timeoutMs: LIMITS.atLeastWaitMs });
      return look();
    }
  };
}

function logFailure(logger: Logger): (error: unknown) => void {
  return (error) => logger.error({ err: error }, 'rebuild of the views failed');
}

function notFound(
  code: 'EVENT_NOT_FOUND' | 'RUN_NOT_FOUND' | 'ORDER_NOT_FOUND' | 'THEATER_NOT_FOUND',
  id: string,
  field: string,
): never {
  throw new AppError(code, { id }, { field });
}
