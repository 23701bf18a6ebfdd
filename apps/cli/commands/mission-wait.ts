import { setTimeout as sleep } from 'node:timers/promises';
import { API } from '#libs/contracts';
import type { Client } from '../client.ts';
import { EXIT, type ExitCode, Failure } from '../failure.ts';
import { facts } from '../format.ts';
import type { Io } from '../io.ts';
import { listenForSignals } from '../signals.ts';
import { type Board, type Entry, lineOf, runFacts } from './mission-boards.ts';

type Key = { project_uuid: string; mission_slug: string };

/** After these a mission may have come to rest. */
const TELLING = new Set(['WPStatusChanged', 'MissionClosed', 'MissionRunRequested', 'ErrorLogged']);
const LOST_MS_MAX = 60_000;
const RETRY_MS = 1_000;

/**
 * Follows a mission that the system executes until it is at rest: merged, blocked, stopped, its
 * merge refused, or accepted where no merge was asked for. Prints its events on the way.
 * @returns 0 only if it has come to the end that was asked for
 */
export async function waitForEnd(
  io: Io,
  client: Client,
  key: Key,
  options: { json: boolean; sync: () => Promise<string[]> },
): Promise<ExitCode> {
  const signals = listenForSignals();
  try {
    const board = await follow(io, client, key, options.json, signals.stop);
    if (board === undefined) return EXIT.failed;
    const standing = board.run?.standing ?? 'stopped';
    const written = await patiently(signals.stop, options.sync);
    const blocked = await patiently(signals.stop, () => blockedOf(client, key));
    const { mission_slug, status, lanes, merged, merge_refused } = board;
    if (options.json) {
      const end = {
        mission_slug,
        status,
        standing,
        lanes,
        merged,
        merge_refused,
        blocked,
        written,
      };
      io.out(JSON.stringify({ end }));
    } else {
      const why = blocked.map(({ wp_id, reason }): [string, string] => [
        wp_id,
        `blocked: ${reason}`,
      ]);
      io.out(facts([['mission', mission_slug], ...runFacts(board), ...why]));
      if (written.length > 0) io.out(`written: ${written.join(', ')}`);
    }
    return standing === 'merged' || standing === 'accepted' ? EXIT.ok : EXIT.failed;
  } finally {
    signals.release();
  }
}

/** The mission at rest; undefined: the wait was ended. */
async function follow(
  io: Io,
  client: Client,
  key: Key,
  json: boolean,
  stop: AbortSignal,
): Promise<Board | undefined> {
  let since: number | undefined;
  /** Until the mission is at rest or the stream breaks off. */
  const look = async (answered: () => void): Promise<Board | undefined> => {
    const board = await client.call(API.missions.board, key);
    answered();
    if (board.run?.standing !== 'running') return board;
    since ??= board.as_of;
    const filter = { ...key, from_seq: String(since + 1) };
    for await (const event of client.follow(API.missions.stream, filter, stop)) {
      const entry = event as unknown as Entry;
      since = entry.seq;
      answered();
      io.out(json ? JSON.stringify(entry) : lineOf(entry));
      if (!TELLING.has(entry.event_type)) continue;
      const now = await client.call(API.missions.board, { ...key, at_least: String(since) });
      if (now.run?.standing !== 'running') return now;
    }
    return undefined;
  };
  while (!stop.aborted) {
    const board = await patiently(stop, look).catch((error: unknown) => {
      if (!stop.aborted) throw error;
      return undefined;
    });
    if (board !== undefined) return board;
  }
  return undefined;
}

/** A system that restarts is waited for: what fails is tried again, for a minute without answer. */
async function patiently<T>(
  stop: AbortSignal,
  work: (answered: () => void) => Promise<T>,
): Promise<T> {
  let lostAt: number | undefined;
  for (;;) {
    try {
      return await work(() => {
        lostAt = undefined;
      });
    } catch (error) {
      if (stop.aborted || !isAway(error)) throw error;
      lostAt ??= performance.now();
      if (performance.now() - lostAt > LOST_MS_MAX) throw error;
      await sleep(RETRY_MS);
    }
  }
}

function isAway(error: unknown): boolean {
  if (error instanceof Failure) return error.exitCode === EXIT.unreachable;
  const { retry } = error as { retry?: unknown };
  // Of the catalogue: waiting mends it. A stream that breaks off is a TypeError of fetch.
  return retry === 'backoff' || retry === 'after' || error instanceof TypeError;
}

async function blockedOf(client: Client, key: Key): Promise<{ wp_id: string; reason: string }[]> {
  const { work_packages } = await client.call(API.missions.workPackages, {
    ...key,
    lane: 'blocked',
  });
  return work_packages.map(({ wp_id, last_reason }) => ({ wp_id, reason: last_reason ?? '' }));
}
