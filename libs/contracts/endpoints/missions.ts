import { z } from 'zod';
import { ARTIFACT_BODY_BYTES, bodyUpload, contentHash, namespaceRef } from '../dossier.ts';
import { id, relativePath } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { asOf, atLeast, cursor, healthOf, limit, seqBound } from './common.ts';
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

/** One content as it was received. */
const bodyEntry = z.looseObject({
  seq: z.int(),
  event_id: z.string(),
  ...namespaceRef.shape,
  artifact_path: z.string(),
  content_hash: z.string(),
  size_bytes: z.int(),
  stored_at: z.string(),
});
/** Of a page, what the contract's shape refuses by now. */
const withheldBodies = z.array(
  z.looseObject({
    project_uuid: z.string(),
    mission_slug: z.string(),
    artifact_path: z.string().nullable(),
    field: z.string(),
    reason: z.string(),
  }),
);
const liveBodies = {
  project_uuid: project_uuid.optional(),
  mission_slug: mission_slug.optional(),
  artifact_path: relativePath.optional(),
  from_seq: seqBound,
  last_event_id: seqBound,
};

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

/** Answers to batches of events, as their senders read them. Source: reference §3. */
const eventsContract: Outside = {
  headers: ['content-encoding', 'content-type'],
  error: z.looseObject({ error: z.string(), details: z.array(z.string()) }),
  errorBody: ({ code, message }: AppError) => ({ error: code.toLowerCase(), details: [message] }),
};

/** The merge that a mission ended with. */
const merged = z.looseObject({
  target_branch: z.string().optional(),
  strategy: z.string().optional(),
  commit: z.string().optional(),
  at: z.string().optional(),
});
/** Why the system could not merge a mission when it tried last. */
const mergeRefused = z.looseObject({
  at: z.string(),
  attempt: z.int().optional(),
  code: z.string().optional(),
  errors: z.array(z.string()).optional(),
});

/** A mission as the stream of its events tells of it. */
const board = z.looseObject({
  project_uuid: z.string(),
  mission_slug: z.string(),
  mission_number: z.string(),
  mission_type: z.string(),
  target_branch: z.string().nullable(),
  /** Of the last closing: accepted or merged; open while there is none. */
  status: z.string(),
  created_at: z.string(),
  updated_at: z.string(),
  events: z.int(),
  /** Work packages by lane; every lane is named. */
  lanes: z.record(z.string(), z.int()),
  /** Null: it is not merged. */
  merged: merged.nullable(),
  /** Null: no merge was refused. It stays when a later one went well. */
  merge_refused: mergeRefused.nullable(),
});
const runSettings = {
  /** Where the orders work; null: in the theater of runs that name none. */
  theater_id: id.nullable(),
  playbook: z.string().nullable(),
  review: z.enum(['unit', 'person']),
  merge: z.enum(['merge', 'squash', 'rebase', 'none']),
};
/** How the system executes a mission, and where that stands. */
const run = z.looseObject({
  ...runSettings,
  active: z.boolean(),
  standing: z.enum(['running', 'blocked', 'stopped', 'merge refused', 'accepted', 'merged']),
});
const workPackage = z.looseObject({
  wp_id: z.string(),
  title: z.string().nullable(),
  lane: z.string(),
  last_actor: z.string().nullable(),
  dependencies: z.array(z.string()),
  last_transition_at: z.string().nullable(),
  last_event_id: z.string().nullable(),
  /** What was said of the last change of lane. */
  last_reason: z.string().nullable(),
  transitions: z.int(),
  force_count: z.int(),
});
const missionEntry = z.looseObject({
  seq: z.int(),
  event_id: z.string(),
  event_type: z.string(),
  wp_id: z.string().nullable(),
  actor: z.string().nullable(),
  timestamp: z.string(),
  event: z.looseObject({}),
});
const wpId = z
  .string()
  .regex(/^WP\d{2,}$/, 'must be WP and digits')
  .max(32);
const boardKey = { project_uuid, mission_slug };
const eventType = z.string().min(1).max(64);
const liveFilter = {
  project_uuid: project_uuid.optional(),
  mission_slug: mission_slug.optional(),
  wp_id: wpId.optional(),
  from_seq: seqBound,
  last_event_id: seqBound,
};

export const MISSIONS = {
  recordEvents: endpoint({
    role,
    name: 'record-events',
    method: 'POST',
    path: '/api/v1/events/batch/',
    summary: 'Take events of missions in envelope 3.0.0, gzip too; one result for each',
    outside: eventsContract,
    input: z.looseObject({ events: z.array(z.looseObject({})).max(LIMITS.batchEvents) }),
    data: z.looseObject({
      results: z.array(
        z.looseObject({
          event_id: z.string().nullable(),
          status: z.enum(['success', 'duplicate', 'rejected']),
          error_message: z.string().nullable(),
          /** Of a rejected one: what is wrong with it. */
          field: z.string().nullable(),
        }),
      ),
      /** Reads with this as `at_least` have what was stored. */
      seq: z.int(),
    }),
    scope: 'ingest',
    maxBodyBytes: LIMITS.dossierBodyBytes,
  }),
  boards: endpoint({
    role,
    name: 'boards',
    method: 'GET',
    path: '/boards',
    summary: 'The missions, in the order in which they came, and their work packages by lane',
    input: z.strictObject({
      project_uuid: project_uuid.optional(),
      mission_slug: mission_slug.optional(),
      status: z.enum(['open', 'accepted', 'merged']).optional(),
      limit,
      cursor,
      at_least: atLeast,
    }),
    query: ['project_uuid', 'mission_slug', 'status', 'limit', 'cursor', 'at_least'],
    data: z.looseObject({
      missions: z.array(board),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  board: endpoint({
    role,
    name: 'board',
    method: 'GET',
    path: '/boards/{project_uuid}/{mission_slug}',
    summary: 'One mission, with the ids of its work packages in each lane',
    input: z.strictObject({ ...boardKey, at_least: atLeast }),
    query: ['at_least'],
    data: z.looseObject({
      ...board.shape,
      in_lane: z.record(z.string(), z.array(z.string())),
      /** Null: nobody has asked for that. */
      run: run.nullable(),
      ...asOf,
    }),
    errors: ['NAMESPACE_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  workPackages: endpoint({
    role,
    name: 'work-packages',
    method: 'GET',
    path: '/boards/{project_uuid}/{mission_slug}/work-packages',
    summary: 'The work packages of a mission by id, with lane and dependencies',
    input: z.strictObject({
      ...boardKey,
      wp_id: wpId.optional(),
      lane: z.string().min(1).max(32).optional(),
      actor: z.string().min(1).max(256).optional(),
      limit,
      cursor,
      at_least: atLeast,
    }),
    query: ['wp_id', 'lane', 'actor', 'limit', 'cursor', 'at_least'],
    data: z.looseObject({
      work_packages: z.array(workPackage),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['NAMESPACE_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  history: endpoint({
    role,
    name: 'history',
    method: 'GET',
    path: '/boards/{project_uuid}/{mission_slug}/history',
    summary: 'The events of a mission in the order of the stream',
    input: z.strictObject({
      ...boardKey,
      wp_id: wpId.optional(),
      event_type: eventType.optional(),
      actor: z.string().min(1).max(256).optional(),
      limit,
      cursor,
      at_least: atLeast,
    }),
    query: ['wp_id', 'event_type', 'actor', 'limit', 'cursor', 'at_least'],
    data: z.looseObject({
      history: z.array(missionEntry),
      /** Events of this page that the contract's shape refuses by now. */
      withheld: z.array(z.looseObject({ seq: z.int(), field: z.string(), reason: z.string() })),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['NAMESPACE_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  run: endpoint({
    role,
    name: 'run',
    method: 'POST',
    path: '/boards/{project_uuid}/{mission_slug}/run',
    summary: 'Have the ready work packages of a mission done as orders, now and as others follow',
    input: z.strictObject({
      ...boardKey,
      /** Where the orders work; default: the theater of runs that name none. */
      theater_id: id.optional(),
      playbook: z.string().min(1).max(140).optional(),
      /** By a second unit, or left to people. */
      review: runSettings.review.default('unit'),
      /** How its lanes are merged once all is accepted; `none`: others do that. */
      merge: runSettings.merge.default('merge'),
      /** True: nothing more is begun or moved on. */
      stop: z.boolean().default(false),
    }),
    data: z.looseObject({
      active: z.boolean(),
      /** True: it was so before. */
      duplicate: z.boolean(),
      /** Work packages for which there is something to do now. */
      next: z.array(z.string()),
    }),
    status: 202,
    errors: ['NAMESPACE_NOT_FOUND', 'ILLEGAL_TRANSITION', 'VERSION_CONFLICT', 'VIEW_BEHIND'],
  }),
  retry: endpoint({
    role,
    name: 'retry',
    method: 'POST',
    path: '/boards/{project_uuid}/{mission_slug}/retry',
    summary: 'Bring a blocked work package back, or without one try a refused merge again',
    input: z.strictObject({
      ...boardKey,
      wp_id: wpId.optional(),
      /** Who wants it; it stands in the event. */
      by: text(256),
      note: z.string().trim().min(1).max(2_000).optional(),
    }),
    data: z.looseObject({ retried: z.string() }),
    status: 202,
    errors: ['NAMESPACE_NOT_FOUND', 'ILLEGAL_TRANSITION', 'VERSION_CONFLICT', 'VIEW_BEHIND'],
  }),
  stream: endpoint({
    role,
    name: 'stream',
    method: 'GET',
    path: '/stream',
    summary: 'Events of missions as they are stored (server-sent; resumes from Last-Event-ID)',
    input: z.strictObject(liveFilter),
    query: Object.keys(liveFilter),
    data: missionEntry,
    live: 'sse',
  }),
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
      withheld: withheldBodies,
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  dossierStream: endpoint({
    role,
    name: 'dossier-stream',
    method: 'GET',
    path: '/dossiers/stream',
    summary: 'Contents of artifacts as they are received (server-sent; resumes from Last-Event-ID)',
    input: z.strictObject(liveBodies),
    query: Object.keys(liveBodies),
    data: bodyEntry,
    live: 'sse',
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
      withheld: withheldBodies,
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
    errors: ['CONTRACT_VIOLATION', 'NAMESPACE_NOT_FOUND', 'ARTIFACT_NOT_FOUND', 'VIEW_BEHIND'],
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
    data: z.looseObject({
      event_id: z.string(),
      duplicate: z.boolean(),
      /** Reads with this as `at_least` have it. */
      seq: z.int(),
    }),
    errors: ['ILLEGAL_TRANSITION'],
    scope: 'ingest',
  }),
  health: healthOf(role),
} as const;
