import { isAppError, LIMITS, normaliseEventId } from '#libs/contracts';
import { type MissionLog, openClock, openMissionLog } from '#libs/missionlog';
import {
  accept,
  type Board,
  type Decided,
  type Gate,
  type MissionState,
  parseLog,
  register,
  type Result,
  type StatusRow,
} from '#libs/missions';
import type { Broker } from '#libs/broker';
import type { Logger } from 'pino';
import { findCheckout } from '../checkout.ts';
import { type Connections, connectMissions, type Env } from './connect.ts';
import { openGit } from './git.ts';
import type { GitPort } from './git-port.ts';
import { homeOf } from './home.ts';
import { mirrorMission } from './mirror.ts';
import { type MissionFiles, readMission, type Repository } from './repository.ts';
import { inTurn } from './turn.ts';

/** How long a command waits for others that write the same repository's files. */
const MIRROR_WAIT_MS = 60_000;

/** Where and how a command runs. */
export type Surroundings = {
  env: Env;
  cwd: string;
  gate: Gate;
  logger: Logger;
  now: () => Date;
  /** Is given what a command has opened; a process of its own just ends. */
  opened?: ((broker: Broker) => void) | undefined;
  /** Kept open between the commands of one process. */
  connections?: Connections | undefined;
};

/** One mission of one repository, with its log open. */
export type Session = {
  repository: Repository;
  mission: MissionFiles;
  board: Board;
  log: MissionLog;
  git: GitPort;
  /** The mission as the stream has it now, with what the repository's own log knew before. */
  load(): Promise<MissionState>;
  /** Decides, stores, and mirrors into the repository's files. */
  decide<A>(decide: (state: MissionState) => Result<Decided<A>>): Promise<Result<Stored<A>>>;
  /** Decides without a mirror, for what is mirrored within a turn of the caller's. */
  decideOnly<A>(decide: (state: MissionState) => Result<Decided<A>>): Promise<Result<Stored<A>>>;
  /** Alone among all who write the repository's mission files. */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  mirror(ticks: 'all' | ReadonlySet<string>): Promise<string[]>;
};

export type Stored<A> = { answer: A; state: MissionState };

/** Opens the log of a repository's project, with a clock that its commands share. */
export async function openRepositoryLog(
  repository: Repository,
  broker: Broker,
  { gate, now }: Surroundings,
): Promise<MissionLog> {
  const { identity } = await findCheckout(repository.root);
  const { uuid, slug, node_id, repo_slug, build_id } = identity;
  return openMissionLog({
    broker,
    gate,
    emitter: {
      projectUuid: uuid,
      nodeId: node_id,
      buildId: build_id,
      extras: { project_slug: slug, repo_slug },
    },
    clock: openClock(homeOf(repository.gitDir).clock, node_id, now),
  });
}

/**
 * Opens a mission: its files first, then the broker.
 * @throws {DEPENDENCY_UNAVAILABLE} and what else `connectMissions` and the log throw
 */
export async function openSession(
  repository: Repository,
  selector: string,
  around: Surroundings,
): Promise<Result<Session>> {
  const read = readMission(repository.root, selector);
  if (!read.ok) return read;
  const mission = read.value;
  const { board, slug } = mission;
  const { env, cwd, logger, connections } = around;
  const broker = await connectMissions(repository, env, cwd, logger, connections);
  around.opened?.(broker);
  const log = await openRepositoryLog(repository, broker, around);
  await importFiles(log, mission, logger);
  const inMirrorTurn = <T>(work: () => Promise<T>): Promise<T> =>
    inTurn(homeOf(repository.gitDir).mirrorLock, MIRROR_WAIT_MS, work);
  const mirror = (ticks: 'all' | ReadonlySet<string>) =>
    mirrorMission(repository.root, slug, log, ticks);

  const decideOnly = decidingOn(log, board);

  return accept({
    repository,
    mission,
    board,
    log,
    git: openGit(repository, mission, around),
    load: async () => (await log.load(slug)).state,
    decideOnly,
    decide: async (decide) => {
      const done = await decideOnly(decide);
      if (done.ok) await inMirrorTurn(() => mirror(new Set()));
      return done;
    },
    inTurn: inMirrorTurn,
    mirror,
  });
}

/** Decides on a mission; what its files tell of it is stored with the first thing that happens. */
function decidingOn(log: MissionLog, board: Board): Session['decideOnly'] {
  return async (decide) => {
    let isTooMuch = false;
    const step = () =>
      log.decide(board.identity, (state) => {
        isTooMuch = false;
        const decided = decide(state);
        if (!decided.ok || decided.value.events.length === 0) return decided;
        const known = register(board, state);
        const events = [...known, ...decided.value.events.filter((event) => !isIn(known, event))];
        // Work packages by the hundred are told of first.
        isTooMuch =
          known.length > 0 && events.length > LIMITS.batchEvents && decided.value.inParts !== true;
        return accept({ ...decided.value, events: isTooMuch ? [] : events });
      });
    for (;;) {
      const done = await step();
      if (!done.ok) return done;
      const { answer, state } = done.value;
      if (!isTooMuch) return accept({ answer, state });
      await log.decide(board.identity, (known) =>
        accept({ events: register(board, known), answer: undefined, inParts: true as const }),
      );
    }
  };
}

function isIn<T extends { key?: string }>(known: readonly T[], event: T): boolean {
  return event.key !== undefined && known.some(({ key }) => key === event.key);
}

/** Takes over what status.events.jsonl knows and the stream does not, each event once. */
async function importFiles(log: MissionLog, mission: MissionFiles, logger: Logger): Promise<void> {
  if (mission.eventsText === '') return;
  const { rows, faults } = parseLog(mission.eventsText);
  for (const fault of faults) logger.warn(fault, 'a line of status.events.jsonl is no event');
  const { state } = await log.load(mission.slug);
  const isNew = ({ event_id }: StatusRow): boolean => {
    const id = normaliseEventId(event_id);
    return id !== undefined && !state.ids.has(id);
  };
  const fresh = rows.filter(isNew);
  if (fresh.length === 0) return;
  const { identity } = mission.board;
  try {
    await log.importLog(identity, fresh);
  } catch (error) {
    if (!isAppError(error, 'CONTRACT_VIOLATION')) throw error;
    await importOneByOne(log, mission, fresh, logger);
  }
}

/** One bad row must not keep the others out. */
async function importOneByOne(
  log: MissionLog,
  { board }: MissionFiles,
  rows: readonly StatusRow[],
  logger: Logger,
): Promise<void> {
  for (const row of rows) {
    try {
      await log.importLog(board.identity, [row]);
    } catch (error) {
      if (!isAppError(error, 'CONTRACT_VIOLATION')) throw error;
      logger.warn({ event_id: row.event_id, reason: error.message }, 'a row was not imported');
    }
  }
}
