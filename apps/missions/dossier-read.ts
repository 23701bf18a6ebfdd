import { AppError, invalid, type NamespaceRef } from '#libs/contracts';
import type { Reader, SqlValue } from '#libs/projections';
import { fullPath } from './dossier-view.ts';

export type ArtifactRow = NamespaceRef & {
  artifact_path: string;
  content_hash: string;
  size_bytes: number;
  versions: number;
  stored_at: string;
};

/** A mission, and the rest of the namespace where a caller names it. */
export type Where = {
  project_uuid: string;
  mission_slug: string;
  target_branch?: string | undefined;
  mission_type?: string | undefined;
  manifest_version?: string | undefined;
};
type Page = { limit: number; cursor?: string | undefined };

const NAMESPACE = 'project_uuid, mission_slug, target_branch, mission_type, manifest_version';
const COLUMNS = `id, ${NAMESPACE}, artifact_path, content_hash, size_bytes, stored_at,
  (SELECT count(*) FROM dossier_contents c WHERE c.artifact_id = a.id) AS versions`;

export function listDossiers(
  reader: Reader,
  { project_uuid, limit, cursor }: Page & { project_uuid?: string | undefined },
) {
  const rows = reader.all<NamespaceRef & { id: number; artifacts: number }>(
    `SELECT min(id) AS id, ${NAMESPACE}, count(*) AS artifacts FROM dossier_artifacts
     WHERE (? IS NULL OR project_uuid = ?) GROUP BY ${NAMESPACE} HAVING min(id) > ?
     ORDER BY 1 LIMIT ?`,
    project_uuid ?? null,
    project_uuid ?? null,
    after(cursor),
    limit + 1,
  );
  const { items, next_cursor } = pageOf(rows, limit);
  return { dossiers: items, next_cursor, as_of: reader.seq };
}

/** @throws {NAMESPACE_NOT_FOUND} nothing was received for it */
export function listArtifacts(reader: Reader, where: Where, { limit, cursor }: Page) {
  const { sql, values } = condition(where);
  const rows = reader.all<ArtifactRow & { id: number }>(
    `SELECT ${COLUMNS} FROM dossier_artifacts a WHERE ${sql} AND id > ? ORDER BY id LIMIT ?`,
    ...values,
    after(cursor),
    limit + 1,
  );
  if (rows.length === 0) demandNamespace(reader, where);
  const { items, next_cursor } = pageOf(rows, limit);
  return { artifacts: items, next_cursor, as_of: reader.seq };
}

/**
 * The artifact at a path, newest first where several namespaces match; with `hash`, that content.
 * @throws {NAMESPACE_NOT_FOUND} · {ARTIFACT_NOT_FOUND}
 */
export function findArtifact(
  reader: Reader,
  where: Where,
  path: string,
  hash: string | undefined,
): ArtifactRow & { as_of: number } {
  const { sql, values } = condition(where);
  const rows = reader.all<ArtifactRow & { id: number }>(
    `SELECT ${COLUMNS} FROM dossier_artifacts a WHERE ${sql} AND artifact_path = ?
     ORDER BY last_seq DESC`,
    ...values,
    path,
  );
  for (const { id, ...row } of rows) {
    if (hash === undefined || row.content_hash === hash) return { ...row, as_of: reader.seq };
    const content = reader.get<Pick<ArtifactRow, 'content_hash' | 'size_bytes' | 'stored_at'>>(
      `SELECT content_hash, size_bytes, stored_at FROM dossier_contents
       WHERE artifact_id = ? AND content_hash = ?`,
      id,
      hash,
    );
    if (content !== undefined) return { ...row, ...content, as_of: reader.seq };
  }
  if (rows.length === 0) demandNamespace(reader, where);
  throw new AppError('ARTIFACT_NOT_FOUND', { path });
}

/** Whether events of others tell of the mission, and of the artifact in it. */
export function isAnnounced(reader: Reader, where: Where, path: string) {
  const key = [where.project_uuid, where.mission_slug];
  const of = (table: string, more: string): string =>
    `SELECT 1 FROM ${table} WHERE project_uuid = ? AND mission_slug = ?${more}`;
  return {
    mission: reader.get(of('dossier_missions', ''), ...key) !== undefined,
    artifact:
      reader.get(
        of('dossier_index', ' AND artifact_path = ?'),
        ...key,
        fullPath(where.mission_slug, path),
      ) !== undefined,
  };
}

/** True for a content of some artifact: other objects are not read through here. */
export function isContent(reader: Reader, hash: string): boolean {
  const sql = 'SELECT 1 FROM dossier_contents WHERE content_hash = ?';
  return reader.get(sql, hash) !== undefined;
}

function demandNamespace(reader: Reader, where: Where): void {
  const { sql, values } = condition(where);
  const known = reader.get(`SELECT 1 FROM dossier_artifacts WHERE ${sql}`, ...values);
  if (known !== undefined) return;
  throw new AppError('NAMESPACE_NOT_FOUND', {
    mission: where.mission_slug,
    project: where.project_uuid,
  });
}

function condition(where: Where): { sql: string; values: SqlValue[] } {
  const names = NAMESPACE.split(', ') as (keyof NamespaceRef)[];
  const given = names.filter((name) => where[name] !== undefined);
  return {
    sql: given.map((name) => `${name} = ?`).join(' AND '),
    values: given.map((name) => where[name] as string),
  };
}

function after(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  if (/^[1-9]\d{0,15}$/.test(cursor)) return Number(cursor);
  throw invalid('cursor', 'is none that this list gave');
}

/** One row more than the page was asked for: its number tells that there is a next one. */
function pageOf<R extends { id: number }>(rows: readonly R[], limit: number) {
  const items: Omit<R, 'id'>[] = [];
  let last = 0;
  for (const { id, ...item } of rows.slice(0, limit)) {
    items.push(item);
    last = id;
  }
  return { items, next_cursor: rows.length > limit ? String(last) : null };
}
