import { setTimeout as sleep } from 'node:timers/promises';
import { consumeDurable } from '#libs/broker';
import type { NamespaceRef, StoredEvent } from '#libs/contracts';
import { createTurns, ledgerFilter, readFirst, startReactor } from '#libs/eventlog';
import {
  BOARDS_FILTER,
  MISSION_STREAM,
  type MissionLog,
  parseMissionSubject,
} from '#libs/missionlog';
import type { Projection } from '#libs/projections';
import type { RoleContext } from '#libs/runtime';
import { end } from './run-end.ts';
import { activeRuns } from './run-read.ts';
import { boardOfState, settingsOf, stepsOf } from './run-rules.ts';
import type { Mission } from './run-decide.ts';
import { take } from './run-steps.ts';
import { createWakes } from './wakes.ts';

export type RunnerOptions = {
  context: RoleContext;
  projection: Projection;
  /** The log of a project. */
  logOf: (projectUuid: string) => MissionLog;
  /** So often each mission is looked at without a cause, should one be missed. Default 30 000. */
  tickMs?: number;
};

type Place = Pick<NamespaceRef, 'project_uuid' | 'mission_slug'>;

/** Shared by all processes with the role: what one of them had in hand when it died, another gets. */
const DURABLE = 'missions-runner';
const ACK_WAIT_MS = 30_000;
const CONCURRENCY = 64;
const PREFETCH = 256;
const TICK_MS = 30_000;

/**
 * Executes missions as orders. Events of a mission, and ends of runs that belong to one, wake it:
 * it is loaded, and what its state asks for is done; then the event is acked. What fails comes
 * again, later each time. Every step is decided on the state and names its run by the lane event it
 * comes of, so any number of processes may take it, and be killed at any point.
 */
export function startRunner(options: RunnerOptions): { stop(): Promise<void> } {
  const { context, projection } = options;
  const { broker, logger } = context;
  const wakes = createWakes();
  const inTurn = createTurns();

  /** @param cause the message of the mission that has woken it, to skip what a look has covered */
  const wake = (place: Place, cause?: { seq: number }, ledgerSeq?: number): Promise<void> => {
    const key = `${place.project_uuid}/${place.mission_slug}`;
    return inTurn(key, async () => {
      if (cause !== undefined && wakes.covers(key, cause.seq)) return;
      const { version, failed } = await look(options, place, ledgerSeq);
      if (failed === undefined) return wakes.looked(key, version, version, 'well');
      if (cause !== undefined) wakes.looked(key, cause.seq, version, 'wrong');
      throw failed;
    });
  };

  const placeIn = (subject: string): Place | undefined => {
    const found = parseMissionSubject(subject);
    return found && { project_uuid: found.projectUuid, mission_slug: found.slug };
  };
  const missions = consumeDurable(broker, {
    stream: MISSION_STREAM,
    durable: DURABLE,
    filterSubjects: [BOARDS_FILTER],
    ackWaitMs: ACK_WAIT_MS,
    maxDeliver: -1,
    concurrency: CONCURRENCY,
    prefetch: PREFETCH,
    logger,
    passesOver: ({ subject, seq }) => {
      const place = placeIn(subject);
      return (
        place === undefined || wakes.covers(`${place.project_uuid}/${place.mission_slug}`, seq)
      );
    },
    handle: async ({ subject, seq }) => {
      const place = placeIn(subject);
      if (place !== undefined) await wake(place, { seq });
    },
  });
  const ledger = startReactor(broker, {
    name: DURABLE,
    logger,
    types: ['RUN_COMPLETED', 'RUN_FAILED', 'RUN_CANCELLED'],
    key: ({ run_id }) => run_id ?? '',
    handle: async (event) => {
      const place = await missionOf(context, event);
      if (place !== undefined) await wake(place, undefined, event.seq);
    },
  });
  const ticks = startTicks(options.tickMs ?? TICK_MS, async () => {
    for (const place of projection.read(activeRuns)) {
      await wake(place).catch((error: unknown) => {
        logger.warn({ err: error, ...place }, 'a mission cannot go on; it is tried again');
      });
    }
  });
  return {
    stop: async () => {
      await Promise.all([missions.stop(), ledger.stop(), ticks.stop()]);
    },
  };
}

/** The mission that a run was made for; undefined: for none. */
async function missionOf(
  { broker, config }: RoleContext,
  { run_id, theater_id }: StoredEvent,
): Promise<Place | undefined> {
  if (run_id === null || theater_id === null) return undefined;
  const place = { garrison_id: config.garrisonId, theater_id, run_id, order_id: null };
  const first = await readFirst(broker, ledgerFilter(place));
  const mission = first?.type === 'RUN_CREATED' ? first.payload.mission : undefined;
  return mission && { project_uuid: mission.project_uuid, mission_slug: mission.mission_slug };
}

/** Does what a mission's state asks for. One step that fails does not keep the others waiting. */
async function look(
  { context, logOf }: RunnerOptions,
  place: Place,
  ledgerSeq: number | undefined,
): Promise<{ version: number; failed?: Error }> {
  const log = logOf(place.project_uuid);
  const { state, version } = await log.load(place.mission_slug);
  const settings = settingsOf(state);
  const board = boardOfState(state);
  if (settings === undefined || board === undefined) return { version };
  const mission: Mission = { place, settings, board, state, log, ledgerSeq };
  const taken = await Promise.allSettled(
    stepsOf(board, state, settings).map((step) =>
      'wpId' in step ? take(context, mission, step) : end(context, mission, step),
    ),
  );
  const failed = taken.find((one) => one.status === 'rejected');
  return failed === undefined ? { version } : { version, failed: failed.reason as Error };
}

function startTicks(everyMs: number, tick: () => Promise<void>): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const loop = async (): Promise<void> => {
    for (;;) {
      await sleep(everyMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      await tick();
    }
  };
  const ended = loop();
  return {
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}
