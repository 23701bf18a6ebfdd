import { createHash } from 'node:crypto';
import { AppError, invalid } from '#libs/contracts';
import { OBJECT_BUCKET } from '#streams';
import { JetStreamApiCodes, JetStreamApiError, type MsgRequest } from '@nats-io/jetstream';
import { type ObjectInfo, type ObjectStore, Objm } from '@nats-io/obj';
import type { Broker } from './connect.ts';
import { callBroker } from './failures.ts';

/** Names bytes by their content. */
export type StoredObject = { sha256: string; bytes: number };

/** Largest object unless the caller names another limit. */
export const OBJECT_LIMIT_BYTES = 64 * 1024 * 1024;

/** The stream behind the bucket; its name and subjects are those that every client of it knows. */
const OBJECT_STREAM = `OBJ_${OBJECT_BUCKET}`;
const LOST_RACE = new Set<number>([
  JetStreamApiCodes.StreamWrongLastSequence,
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
]);

/**
 * Stores `data` under its SHA-256, once: bytes that are there already are not written again.
 *
 * @throws {PAYLOAD_TOO_LARGE} over `maxBytes` (default 64 MiB)
 * @throws {DEPENDENCY_UNAVAILABLE} not known to be stored; put it again
 */
export async function putObject(
  broker: Broker,
  data: Uint8Array,
  { maxBytes = OBJECT_LIMIT_BYTES }: { maxBytes?: number } = {},
): Promise<StoredObject> {
  if (data.length > maxBytes) throw tooLarge(maxBytes);
  const sha256 = digest(data);
  await callBroker(broker, async () => {
    const store = await openStore(broker);
    const before = await store.info(sha256);
    if (before !== null && !before.deleted) return;
    try {
      await store.putBlob({ name: sha256 }, data, { previousRevision: before?.revision ?? 0 });
    } catch (error) {
      // Another wrote the same bytes first; the store has removed ours.
      if (!(error instanceof JetStreamApiError && LOST_RACE.has(error.code))) throw error;
    }
  });
  return { sha256, bytes: data.length };
}

/**
 * The bytes with this SHA-256, checked against it, or null if there are none.
 *
 * @throws {INVALID_REQUEST} not a digest · {PAYLOAD_TOO_LARGE} over `maxBytes`
 * @throws {DEPENDENCY_UNAVAILABLE}
 */
export async function getObject(
  broker: Broker,
  sha256: string,
  { maxBytes = OBJECT_LIMIT_BYTES }: { maxBytes?: number } = {},
): Promise<Uint8Array | null> {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw invalid('sha256', 'must be 64 hex digits');
  return callBroker(broker, async () => {
    const store = await openStore(broker);
    const info = await store.info(sha256);
    if (info === null || info.deleted) return null;
    if (info.size > maxBytes) throw tooLarge(maxBytes);
    const data = await readChunks(broker, info);
    if (digest(data) !== sha256) throw new Error(`object ${sha256} is damaged`);
    return data;
  });
}

/**
 * One request a chunk. The library makes a consumer for each object that is read, which stays for
 * minutes: a thousand reads in that time and the server refuses the next.
 */
async function readChunks(broker: Broker, { nuid, size }: ObjectInfo): Promise<Uint8Array> {
  const subject = `$O.${OBJECT_BUCKET}.C.${nuid}`;
  const chunks: Uint8Array[] = [];
  let seq = 1;
  for (let read = 0; read < size; ) {
    const query = { seq, next_by_subj: subject } as MsgRequest;
    const chunk = await broker.jsm.streams.getMessage(OBJECT_STREAM, query);
    if (chunk === null) break;
    chunks.push(chunk.data);
    read += chunk.data.length;
    seq = chunk.seq + 1;
  }
  return Buffer.concat(chunks);
}

/** No check that the bucket exists: `streams apply` makes it, and its absence is an error here. */
function openStore(broker: Broker): Promise<ObjectStore> {
  return new Objm(broker.js).open(OBJECT_BUCKET, false);
}

function digest(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function tooLarge(limit: number): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', { what: 'object', limit });
}
