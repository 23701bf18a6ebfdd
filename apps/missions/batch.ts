import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import {
  AppError,
  checkJson,
  invalid,
  isAppError,
  LIMITS,
  normaliseEventId,
} from '#libs/contracts';
import { BODY_STORED } from '#libs/dossier';
import type { MissionLog, Recorded } from '#libs/missionlog';
import type { Projection } from '#libs/projections';
import { isOfAnother, type Place } from './board-read.ts';
import { type Ctx, type OutsideRequest, parseJson } from '#libs/service';

/** One result as senders of events read it. */
export type BatchResult = {
  event_id: string | null;
  status: Recorded['status'];
  error_message: string | null;
  field: string | null;
};

const unzip = promisify(gunzip);

/**
 * Takes a batch of mission events: what fits is stored, each id once, and each event has its answer.
 * An id is one event's for all missions: under an id that another mission has, nothing is stored.
 * @throws {INVALID_JSON} · {INVALID_REQUEST} it is no batch, or no gzip
 * @throws {PAYLOAD_TOO_LARGE} more than 1 000 events, or more than 8 MiB of them
 * @throws {UNSUPPORTED_MEDIA_TYPE} neither JSON nor gzip of it
 * @throws {DEPENDENCY_UNAVAILABLE | VIEW_BEHIND} not known to be stored; the same batch can be sent again
 */
export async function recordBatch(
  { log, projection }: { log: MissionLog; projection: Projection },
  { body }: OutsideRequest,
  ctx: Ctx,
): Promise<{ results: BatchResult[] }> {
  const events = readBatch(await inflated(body, ctx));
  const results: BatchResult[] = [];
  const fit: { at: number; event: unknown }[] = [];
  await projection.catchUp({ timeoutMs: LIMITS.atLeastWaitMs });
  const taken = takenIds(projection);
  for (const [at, event] of events.entries()) {
    const fault = faultOf(event) ?? taken(event);
    if (fault === undefined) fit.push({ at, event });
    else results[at] = rejected(event, fault.field, fault.reason);
  }
  const recorded = await log.record(
    fit.map(({ event }) => event),
    'http in',
  );
  for (const [i, { at }] of fit.entries()) {
    const { event_id, status, field, error_message } = recorded[i] as Recorded;
    results[at] = { event_id, status, error_message: error_message ?? null, field: field ?? null };
  }
  return { results };
}

async function inflated(body: Uint8Array, ctx: Ctx): Promise<Uint8Array> {
  const type = ctx.headers('content-type');
  // A form of any web page can send text; JSON it cannot.
  if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type.trim())) {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', { type: type.slice(0, 100) });
  }
  const encoding = (ctx.headers('content-encoding') ?? 'identity').trim().toLowerCase();
  if (encoding === 'identity') return body;
  if (encoding !== 'gzip') {
    const told = `with content encoding ${encoding.slice(0, 100)}`;
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', { type: told });
  }
  try {
    return await unzip(body, { maxOutputLength: LIMITS.batchBodyBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      const limit = LIMITS.batchBodyBytes;
      throw new AppError('PAYLOAD_TOO_LARGE', { what: 'unpacked body in bytes', limit });
    }
    throw invalid('content-encoding', `says gzip, but ${(error as Error).message}`);
  }
}

function readBatch(bytes: Uint8Array): readonly unknown[] {
  const value = parseJson(bytes);
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject) throw invalid('body', 'must be a JSON object with events');
  const { events } = value as { events?: unknown };
  if (!Array.isArray(events)) throw invalid('events', 'must be a list of events');
  if (events.length > LIMITS.batchEvents) {
    const limit = LIMITS.batchEvents;
    throw new AppError('PAYLOAD_TOO_LARGE', { what: 'events', limit }, { field: 'events' });
  }
  return events as unknown[];
}

/** What the log does not look for: JSON that would not be kept as it is, and events of no project. */
function faultOf(event: unknown): { field: string; reason: string } | undefined {
  try {
    checkJson(event, 'event');
  } catch (error) {
    if (!isAppError(error)) throw error;
    return { field: error.field ?? 'event', reason: error.message };
  }
  const project = (event as { project_uuid?: unknown } | null)?.project_uuid;
  const type = (event as { event_type?: unknown } | null)?.event_type;
  // It names content that is kept here, so whoever keeps it tells of it.
  if (type === BODY_STORED) return { field: 'event_type', reason: `${type} is told here alone` };
  if (typeof event !== 'object' || (project !== undefined && project !== null)) return undefined;
  // Without a project it stays where it was made; here it would mix with those of others.
  return { field: 'project_uuid', reason: 'project_uuid is required where events are sent' };
}

/** Finds ids that an event of another mission has, here or earlier in the same batch. */
function takenIds(projection: Projection) {
  const places = new Map<string, Place>();
  return (event: unknown): { field: string; reason: string } | undefined => {
    const { event_id, project_uuid, payload } = event as Record<string, unknown>;
    const id = normaliseEventId(String(event_id));
    if (id === undefined) return undefined;
    const slug = (payload as { mission_slug?: unknown } | null | undefined)?.mission_slug;
    const place = {
      project_uuid: String(project_uuid).toLowerCase(),
      mission_slug: typeof slug === 'string' ? slug : null,
    };
    const earlier = places.get(id) ?? place;
    const isHere =
      earlier.project_uuid === place.project_uuid && earlier.mission_slug === place.mission_slug;
    if (isHere && !projection.read((reader) => isOfAnother(reader, id, place))) {
      places.set(id, place);
      return undefined;
    }
    return { field: 'event_id', reason: `event_id ${id} is that of an event of another mission` };
  };
}

function rejected(event: unknown, field: string, reason: string): BatchResult {
  const id = (event as { event_id?: unknown } | null)?.event_id;
  const event_id = typeof id === 'string' ? id.slice(0, 128) : null;
  return { event_id, status: 'rejected', error_message: reason.slice(0, 500), field };
}
