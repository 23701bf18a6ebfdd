import { createHash } from 'node:crypto';
import { AppError, invalid } from '#libs/contracts';
import { OBJECT_BUCKET } from '#streams';
import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { type ObjectResult, type ObjectStore, Objm } from '@nats-io/obj';
import type { Broker } from './connect.ts';
import { callBroker } from './failures.ts';

/** Names bytes by their content. */
export type StoredObject = { sha256: string; bytes: number };

/** Largest object unless the caller names another limit. */
export const OBJECT_LIMIT_BYTES = 64 * 1024 * 1024;

const READ_TIMEOUT_MS = 60_000;
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
 * @throws {DEPENDENCY_UNAVAILABLE} · {TIMEOUT} the transfer stalled
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
    const result = await store.get(sha256);
    if (result === null) return null;
    const data = await readAll(result, maxBytes);
    if (digest(data) !== sha256) throw new Error(`object ${sha256} is damaged`);
    return data;
  });
}

/** No check that the bucket exists: `streams apply` makes it, and its absence is an error here. */
function openStore(broker: Broker): Promise<ObjectStore> {
  return new Objm(broker.js).open(OBJECT_BUCKET, false);
}

async function readAll(result: ObjectResult, maxBytes: number): Promise<Uint8Array> {
  const reader = result.data.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void reader.cancel();
  }, READ_TIMEOUT_MS);
  // The reader meets the same error; this only keeps it from going unhandled.
  result.error.catch(() => undefined);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (late) throw new AppError('TIMEOUT', { what: 'Reading', limit_ms: READ_TIMEOUT_MS });
      if (done) return Buffer.concat(chunks, size);
      size += value.length;
      if (size > maxBytes) throw tooLarge(maxBytes);
      chunks.push(value);
    }
  } finally {
    clearTimeout(timer);
    if (size > maxBytes) await reader.cancel();
  }
}

function digest(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function tooLarge(limit: number): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', { what: 'object', limit });
}
