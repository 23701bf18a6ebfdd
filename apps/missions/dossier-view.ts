import type { DatabaseSync } from 'node:sqlite';
import { contentHash, namespaceRef } from '#libs/contracts';
import { ARTIFACT_INDEXED, BODY_STORED, type BodyStored } from '#libs/dossier';
import type { View } from '#libs/projections';
import type { MissionEvent } from './events.ts';

const TABLES = `
  CREATE TABLE dossier_artifacts (
    id INTEGER PRIMARY KEY,
    project_uuid TEXT NOT NULL, mission_slug TEXT NOT NULL, target_branch TEXT NOT NULL,
    mission_type TEXT NOT NULL, manifest_version TEXT NOT NULL, artifact_path TEXT NOT NULL,
    content_hash TEXT NOT NULL, size_bytes INTEGER NOT NULL, stored_at TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    UNIQUE (project_uuid, mission_slug, artifact_path, target_branch, mission_type,
      manifest_version)
  );
  CREATE TABLE dossier_contents (
    artifact_id INTEGER NOT NULL, content_hash TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    stored_at TEXT NOT NULL, PRIMARY KEY (artifact_id, content_hash)
  ) WITHOUT ROWID;
  CREATE INDEX dossier_contents_hash ON dossier_contents (content_hash);
  CREATE TABLE dossier_missions (
    project_uuid TEXT NOT NULL, mission_slug TEXT NOT NULL,
    PRIMARY KEY (project_uuid, mission_slug)
  ) WITHOUT ROWID;
  CREATE TABLE dossier_index (
    project_uuid TEXT NOT NULL, mission_slug TEXT NOT NULL, artifact_path TEXT NOT NULL,
    PRIMARY KEY (project_uuid, mission_slug, artifact_path)
  ) WITHOUT ROWID;
`;

function statements(db: DatabaseSync) {
  return {
    artifact: db.prepare(
      `INSERT INTO dossier_artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (project_uuid, mission_slug, artifact_path, target_branch, mission_type,
         manifest_version) DO UPDATE SET content_hash = excluded.content_hash,
         size_bytes = excluded.size_bytes, stored_at = excluded.stored_at,
         last_seq = excluded.last_seq RETURNING id`,
    ),
    content: db.prepare('INSERT OR IGNORE INTO dossier_contents VALUES (?, ?, ?, ?)'),
    mission: db.prepare('INSERT OR IGNORE INTO dossier_missions VALUES (?, ?)'),
    index: db.prepare('INSERT OR IGNORE INTO dossier_index VALUES (?, ?, ?)'),
  };
}

/** What has been received for each artifact, and what the events of others say is there. */
export const dossierView: View<MissionEvent> = {
  name: 'dossier',
  version: 2,
  create: (db) => db.exec(TABLES),
  open(db) {
    const sql = statements(db);
    return {
      apply({ events }) {
        for (const event of events) {
          const mission = event.payload.mission_slug;
          if (event.project_uuid === undefined || typeof mission !== 'string') continue;
          if (event.event_type === BODY_STORED) {
            // Of others, who may call something else so, nothing is kept here.
            if (isBodyStored(event)) keep(sql, event);
            continue;
          }
          sql.mission.run(event.project_uuid, mission);
          const path = event.event_type === ARTIFACT_INDEXED ? pathOf(event.payload) : undefined;
          if (path !== undefined) {
            sql.index.run(event.project_uuid, mission, fullPath(mission, path));
          }
        }
        return undefined;
      },
      forget: () => undefined,
    };
  },
};

/** True for an event of a received content; others may call something else so. */
export function isBodyStored({ event_type, payload }: MissionEvent): boolean {
  const { namespace, content_hash, size_bytes, artifact_path } = payload;
  return (
    event_type === BODY_STORED &&
    namespaceRef.safeParse(namespace).success &&
    typeof artifact_path === 'string' &&
    contentHash.safeParse(content_hash).success &&
    Number.isSafeInteger(size_bytes)
  );
}

/** Senders name the path as the seed does, or as part of an `artifact_id`. */
function pathOf({ artifact_path, artifact_id }: MissionEvent['payload']): string | undefined {
  const path = artifact_path ?? (artifact_id as { path?: unknown } | null | undefined)?.path;
  return typeof path === 'string' ? path : undefined;
}

/** Relative to the repository; some senders name paths relative to the mission's folder. */
export function fullPath(mission: string, path: string): string {
  const folder = `kitty-specs/${mission}/`;
  return path.startsWith(folder) ? path : folder + path;
}

function keep(sql: ReturnType<typeof statements>, { seq, timestamp, payload }: MissionEvent): void {
  const { namespace, artifact_path, content_hash, size_bytes } = payload as BodyStored['payload'];
  const { project_uuid, mission_slug, target_branch, mission_type, manifest_version } = namespace;
  const place = [project_uuid, mission_slug, target_branch, mission_type, manifest_version];
  const content = [content_hash, size_bytes, timestamp] as const;
  const row = sql.artifact.get(seq, ...place, artifact_path, ...content, seq);
  sql.content.run(Number(row?.id), ...content);
}
