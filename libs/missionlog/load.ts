import { setTimeout as sleep } from 'node:timers/promises';
import { type Broker, callBroker } from '#libs/broker';
import { AppError, isAppError, type MissionEnvelope } from '#libs/contracts';
import {
  fold,
  type Gate,
  type GateContext,
  initialState,
  type MissionState,
  readEnvelope,
} from '#libs/missions';
import { readMessages } from '../eventlog/internal.ts';
import { MISSION_STREAM, parseMissionSubject } from './subjects.ts';

/** A stored mission event and where it lies in the stream. */
export type StoredMissionEvent = { seq: number; event: MissionEnvelope };

/** Bytes in the stream that are no event of the contract; they are left out of every reduction. */
export type MissionFault = { seq: number; field: string; reason: string };

export type LoadedMission = {
  readonly state: MissionState;
  /** Sequence of the mission's last message, 0 if there is none: what an append must expect. */
  readonly version: number;
  readonly faults: readonly MissionFault[];
};

const decoder = new TextDecoder('utf-8', { fatal: true });
const EMPTY: LoadedMission = { state: initialState, version: 0, faults: [] };
const CACHED_MAX = 200;
const STALE_RETRIES = 200;
const STALE_WAIT_MS = 25;

/** Reads stored bytes back through the gate. */
export function decodeMissionEvent(
  gate: Gate,
  context: GateContext,
  data: Uint8Array,
  subject: string,
): { ok: true; event: MissionEnvelope } | { ok: false; field: string; reason: string } {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(data));
  } catch (error) {
    return { ok: false, field: 'event', reason: `not JSON: ${(error as Error).message}` };
  }
  try {
    const event = readEnvelope(gate, context, value);
    const place = parseMissionSubject(subject);
    const { mission_slug: slug } = event.payload;
    if (place === undefined || (slug !== undefined && place.slug !== slug)) {
      return { ok: false, field: 'payload.mission_slug', reason: 'is not that of its subject' };
    }
    return { ok: true, event };
  } catch (error) {
    if (!isAppError(error, 'CONTRACT_VIOLATION')) throw error;
    return { ok: false, field: error.field ?? 'event', reason: error.message };
  }
}

/** Loads missions by folding their events, and keeps the newest so that the next load is short. */
export function createLoader(broker: Broker, gate: Gate) {
  const cache = new Map<string, LoadedMission>();

  const refresh = async (subject: string): Promise<LoadedMission> => {
    const known = cache.get(subject) ?? EMPTY;
    let { state, version } = known;
    const faults = [...known.faults];
    const start = { seq: version + 1 };
    for await (const page of readMessages(broker, MISSION_STREAM, subject, start)) {
      const events: MissionEnvelope[] = [];
      for (const { seq, data } of page) {
        const read = decodeMissionEvent(gate, 'reduce', data, subject);
        if (read.ok) events.push(read.event);
        else faults.push({ seq, field: read.field, reason: read.reason });
        version = seq;
      }
      state = fold(state, events);
    }
    const loaded = { state, version, faults };
    const other = cache.get(subject);
    const newest = other !== undefined && other.version > version ? other : loaded;
    cache.delete(subject);
    cache.set(subject, newest);
    if (cache.size > CACHED_MAX) cache.delete(cache.keys().next().value as string);
    return newest;
  };

  /**
   * @param atLeast `leader`: as new as the stream's leader; `any`: what the next replica has
   * @throws {DEPENDENCY_UNAVAILABLE}
   * @throws {VIEW_BEHIND} the replica that answers stays behind the leader
   */
  return async (subject: string, atLeast: 'leader' | 'any'): Promise<LoadedMission> => {
    const wanted = atLeast === 'leader' ? await leaderVersion(broker, subject) : 0;
    for (let round = 0; ; round += 1) {
      const loaded = await refresh(subject);
      if (loaded.version >= wanted) return loaded;
      if (round === STALE_RETRIES) {
        throw new AppError('VIEW_BEHIND', { at: loaded.version, wanted });
      }
      await sleep(STALE_WAIT_MS);
    }
  };
}

function leaderVersion(broker: Broker, subject: string): Promise<number> {
  return callBroker(broker, async () => {
    const query = { last_by_subj: subject };
    return (await broker.jsm.streams.getMessage(MISSION_STREAM, query))?.seq ?? 0;
  });
}
