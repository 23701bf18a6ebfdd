import { consumeTimers, scheduleTimer } from '#libs/broker';
import { API, AppError, LIMITS } from '#libs/contracts';
import { healthHandler, type RoleContext, type RunningRole } from '#libs/runtime';
import { defineService } from '#libs/service';
import { countTheater, openOutcomes, theatersSeen } from './outcomes.ts';
import { diffVersions, pinPolicy, rollBackPolicy, tickPolicy } from './policies.ts';
import { createPolicyVersions } from './versions.ts';

const TIMER = { kind: 'learn-tick', id: 'fleet' };

/** Counts how orders ended and makes the routing policies that the commanding officer follows. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, config, logger, log } = context;
  const projection = await openOutcomes(context);
  const versions = createPolicyVersions(context);
  const book = { versions, projection, exploration: config.exploration };
  const catchUp = (): Promise<void> => projection.catchUp({ timeoutMs: LIMITS.atLeastWaitMs });

  /** A theater that was opened, or in which something has ended. @throws {THEATER_NOT_FOUND} */
  const checkTheater = async (theaterId: string): Promise<void> => {
    if ((await context.theaters.find(theaterId)) !== undefined) return;
    const { window } = projection.read((reader) => countTheater(reader, theaterId));
    if (window !== null || (await versions.standing(theaterId)).policy !== null) return;
    throw new AppError('THEATER_NOT_FOUND', { id: theaterId }, { field: 'theater_id' });
  };

  const tick = async (theaterId: string | undefined) => {
    await catchUp();
    if (theaterId !== undefined) await checkTheater(theaterId);
    const theaters = theaterId === undefined ? projection.read(theatersSeen) : [theaterId];
    const ticked = [];
    for (const one of theaters) ticked.push(await tickPolicy(book, one));
    return { theaters: ticked };
  };

  // One timer for the whole fleet: whoever sets it again sets it to the same moment.
  const schedule = (): Promise<void> => {
    const next = (Math.floor(log.defaults.now().getTime() / config.learnMs) + 1) * config.learnMs;
    return scheduleTimer(broker, { ...TIMER, at: new Date(next), payload: null });
  };
  await schedule();
  const timers = consumeTimers(broker, {
    durable: 'learning',
    kinds: [TIMER.kind],
    logger,
    handle: async () => {
      await schedule();
      await tick(undefined);
    },
  });

  const service = defineService(API.learning, {
    tick: ({ theater_id }) => tick(theater_id),
    policy: async ({ theater_id }) => {
      await checkTheater(theater_id);
      return versions.standing(theater_id);
    },
    history: async ({ theater_id }) => {
      await checkTheater(theater_id);
      const { versions: made, pinned } = await versions.load(theater_id);
      return { theater_id, pinned, versions: made.toReversed() };
    },
    diff: async ({ theater_id, from, to }) => {
      await checkTheater(theater_id);
      return { changes: await diffVersions(book, theater_id, from, to) };
    },
    pin: async ({ theater_id, ...wanted }) => {
      await catchUp();
      await checkTheater(theater_id);
      return pinPolicy(book, theater_id, wanted);
    },
    rollback: async ({ theater_id, ...wanted }) => {
      await catchUp();
      await checkTheater(theater_id);
      return rollBackPolicy(book, theater_id, wanted);
    },
    health: healthHandler(context, 'learning'),
  });
  return {
    service,
    close: async () => {
      await timers.stop();
      await projection.close();
    },
  };
}
