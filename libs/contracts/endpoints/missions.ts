import { z } from 'zod';
import { ARTIFACT_BODY_BYTES, bodyUpload, contentHash, namespaceRef } from '../dossier.ts';
import { relativePath } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { asOf, atLeast, cursor, healthOf, limit } from './common.ts';
import type { AppError } from '../errors.ts';
import { endpoint, type Outside } from './endpoint.ts';

const role = 'missions';
const { project_uuid, mission_slug, target_branch, mission_type, manifest_version } =
  namespaceRef.shape;
const mission = { project_uuid, mission_slug };
/** Where a mission has several namespaces; else the one it has. */
const narrowed = {
  target_branch: target_branch.optional(),
  mission_type: mission_type.optional(),
  manifest_version: manifest_version.optional(),
};
const NARROWED = ['target_branch', 'mission_type', 'manifest_version'];

/** One artifact as it was received last. */
const artifactEntry = z.looseObject({
  ...namespaceRef.shape,
  artifact_path: z.string(),
  /** `sha256:` and 64 hex digits. */
  content_hash: z.string(),
  size_bytes: z.int(),
  /** Contents that were received for it so far. */
  versions: z.int(),
  stored_at: z.string(),
});

/** Not blank. */
const text = (chars: number) => z.string().trim().min(1).max(chars);

/** Text of at most 512 KiB. */
const content = { size_bytes: z.int().max(ARTIFACT_BODY_BYTES), content_body: z.string() };

/** Errors as senders of dossiers read them: a word, and what it means. */
const dossierContract: Outside = {
  headers: [],
  error: z.looseObject({
    /** As index_entry_not_found. */
    error: z.string(),
    detail: z.string(),
    field: z.string().optional(),
  }),
  errorBody: ({ code, message, field }: AppError) => ({
    error: code.toLowerCase(),
    detail: message,
    ...(field !== undefined && { field }),
  }),
};

export const MISSIONS = {
  pushContent: endpoint({
    role,
    name: 'push-content',
    method: 'POST',
    path: '/api/dossier/push-content/',
    summary: 'Take the content of one artifact of a mission; 201 stored, 200 known already',
    outside: dossierContract,
    input: bodyUpload,
    data: z.looseObject({
      status: z.enum(['stored', 'already_exists']),
      artifact_path: z.string(),
      content_hash: z.string(),
      /** Sequence from which the index has it. */
      seq: z.int(),
    }),
    status: 201,
    errors: ['NAMESPACE_NOT_FOUND', 'INDEX_ENTRY_NOT_FOUND', 'VIEW_BEHIND'],
    scope: 'ingest',
    maxBodyBytes: LIMITS.dossierBodyBytes,
  }),
  dossiers: endpoint({
    role,
    name: 'dossiers',
    method: 'GET',
    path: '/dossiers',
    summary: 'The namespaces that have artifacts',
    input: z.strictObject({
      project_uuid: project_uuid.optional(),
      limit,
      cursor,
      at_least: atLeast,
    }),
    query: ['project_uuid', 'limit', 'cursor', 'at_least'],
    data: z.looseObject({
      dossiers: z.array(z.looseObject({ ...namespaceRef.shape, artifacts: z.int() })),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  artifacts: endpoint({
    role,
    name: 'artifacts',
    method: 'GET',
    path: '/dossiers/{project_uuid}/{mission_slug}/artifacts',
    summary: 'The artifacts of a mission, by path, as they were received last',
    input: z.strictObject({ ...mission, ...narrowed, limit, cursor, at_least: atLeast }),
    query: [...NARROWED, 'limit', 'cursor', 'at_least'],
    data: z.looseObject({
      artifacts: z.array(artifactEntry),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['NAMESPACE_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  artifact: endpoint({
    role,
    name: 'artifact',
    method: 'GET',
    path: '/dossiers/{project_uuid}/{mission_slug}/artifact',
    summary: 'One artifact with its content: the last received, or the one with a digest',
    input: z.strictObject({
      ...mission,
      ...narrowed,
      path: relativePath,
      content_hash: contentHash.optional(),
      at_least: atLeast,
    }),
    query: ['path', 'content_hash', ...NARROWED, 'at_least'],
    data: z.looseObject({
      ...artifactEntry.shape,
      hash_algorithm: z.literal('sha256'),
      ...content,
      ...asOf,
    }),
    errors: ['NAMESPACE_NOT_FOUND', 'ARTIFACT_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  content: endpoint({
    role,
    name: 'content',
    method: 'GET',
    path: '/content/{sha256}',
    summary: 'Content of an artifact by its digest',
    input: z.strictObject({ sha256: contentHash }),
    data: z.looseObject({ sha256: z.string(), ...content }),
    errors: ['ARTIFACT_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  recordOrigin: endpoint({
    role,
    name: 'record-origin',
    method: 'POST',
    path: '/origins',
    summary: 'Record which issue of a tracker a mission came from (MissionOriginBound)',
    input: z.strictObject({
      ...mission,
      mission_number: text(64),
      mission_type,
      build_id: text(64),
      node_id: text(128),
      provider: z.enum(['jira', 'linear']),
      external_issue_id: text(256),
      external_issue_key: text(256),
      external_issue_url: z.url({ protocol: /^https?$/ }).max(2_048),
      title: text(1_000),
    }),
    data: z.looseObject({ event_id: z.string(), duplicate: z.boolean() }),
    errors: ['ILLEGAL_TRANSITION'],
    scope: 'ingest',
  }),
  health: healthOf(role),
} as const;
