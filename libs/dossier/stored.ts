import { createHash } from 'node:crypto';
import type { BodyUpload, NamespaceRef } from '#libs/contracts';
import { dossierEvent, type ToldBy } from './event.ts';
import { KEY } from './schema.ts';

/** Told when the content of an artifact has been received; an event of envelope 3.0.0. */
export const BODY_STORED = 'MissionDossierBodyStored';

export type BodyStored = {
  event_id: string;
  event_type: typeof BODY_STORED;
  aggregate_id: string;
  aggregate_type: 'MissionDossier';
  schema_version: '3.0.0';
  build_id: string;
  node_id: string;
  lamport_clock: number;
  timestamp: string;
  causation_id: null;
  correlation_id: string;
  project_uuid: string;
  payload: {
    mission_slug: string;
    mission_number: string;
    mission_type: string;
    namespace: NamespaceRef;
    artifact_path: string;
    content_hash: string;
    hash_algorithm: 'sha256';
    size_bytes: number;
  };
};

/** Who writes, when, and after which message of the mission (0: none). */
export type StoredBy = Omit<ToldBy, 'eventId' | 'number'> & { after: number };

/** The event of an upload; the same id for the same content after the same message. */
export function bodyStored(upload: BodyUpload, by: StoredBy): BodyStored {
  const { mission_slug, artifact_path, content_hash, hash_algorithm, content_body } = upload;
  const eventId = uuidOf(`${digestOf(upload)} ${by.after}`);
  const number = /^\d+/.exec(mission_slug)?.[0] ?? '0';
  return dossierEvent(
    BODY_STORED,
    upload,
    { ...by, eventId, number },
    {
      artifact_path,
      content_hash,
      hash_algorithm,
      size_bytes: Buffer.byteLength(content_body),
    },
  );
}

function digestOf(upload: BodyUpload): string {
  const key = JSON.stringify(KEY.map((name) => upload[name]));
  return createHash('sha256').update(key).digest('hex');
}

/** A UUID (version 8) that follows from a text. */
export function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 3) | 8).toString(16);
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`];
  return [...parts, `${variant}${hex.slice(17, 20)}`, hex.slice(20, 32)].join('-');
}
