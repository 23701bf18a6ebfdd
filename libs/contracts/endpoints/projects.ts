import { z } from 'zod';
import type { ErrorCode } from '../errors.ts';
import { draftContent } from '../events/projects.ts';
import { id, ID_PATTERN, timestamp } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { asOf, atLeast, cursor, healthOf, limit } from './common.ts';
import { endpoint } from './endpoint.ts';

const role = 'projects';
const project = { project_id: id };
/** Ids inside of a document are any text. */
const part = z.string().min(1).max(256);
const name = z.string().min(1).max(256);
/** Agents send theirs with white space around. */
const trimmedId = z.string().trim().regex(ID_PATTERN, 'must be an id');
const text = z.string().max(2 * LIMITS.projectTextChars);
const artifact = { ...project, artifact_id: part };
const phase = { ...project, phase_id: part };
const commentPlace = { ...artifact, comment_id: z.string().min(1).max(128) };
const draftPlace = { ...artifact, draft_id: id };

/** Who does it. With a token, the token's name is the actor. */
const author = {
  actor_id: name.optional(),
  /** Device of the writer. Default: the actor. */
  device_id: name.optional(),
};
/** What a command on a project may state beside its own fields; `If-Match` says the same. */
const command = {
  ...author,
  expected_revision: z.coerce.number().int().min(0).optional(),
};
const COMMAND_QUERY = ['actor_id', 'device_id', 'expected_revision'];

/** A point of a project's history. */
const point = {
  /** Stream sequence. */
  seq: z.coerce.number().int().min(1).optional(),
  at: timestamp.optional(),
};

const finding = z.looseObject({
  code: z.string(),
  level: z.enum(['error', 'warning']),
  path: z.string(),
  message: z.string(),
});
const revision = z.int().min(0);
const head = z.looseObject({ entries: z.int(), head: z.string() });

/** A project with what is computed of it beside, never in it. */
const projectAnswer = z.looseObject({
  ...project,
  revision,
  document: z.looseObject({ id: z.string() }),
  state: z.looseObject({ phases: z.array(z.looseObject({ phase_id: z.string() })) }),
  chain: head,
  ...asOf,
});
const done = z.looseObject({
  ...project,
  /** The ETag: what a next `If-Match` names. */
  revision,
  /** False: it was so already. */
  changed: z.boolean(),
  /** Stream sequence from which lists show it. */
  seq: z.int(),
  warnings: z.array(z.looseObject({ code: z.string(), message: z.string() })),
});
const gateAnswer = z.looseObject({
  ...project,
  phase_id: z.string(),
  ready: z.boolean(),
  gate: z.enum(['locked', 'ready', 'decided']),
  blocked_by: z.array(z.string()),
  decision: z.looseObject({ status: z.enum(['pending', 'go', 'no-go']) }),
  revision,
});
const keyInfo = z.looseObject({
  key_id: z.string(),
  created_at: z.string(),
  retired_at: z.string().nullable(),
  public_jwk: z.looseObject({ kty: z.string() }),
  signs: z.boolean(),
});

const READ = ['PROJECT_NOT_FOUND'] as const;
const PART = [...READ, 'PROJECT_PART_NOT_FOUND'] as const;
const CHANGE = [...PART, 'VERSION_CONFLICT'] as const;

/** A command on an existing project. */
function change<S extends z.ZodRawShape>(
  key: string,
  path: string,
  summary: string,
  shape: S,
  errors: readonly ErrorCode[] = [],
) {
  return endpoint({
    role,
    name: key,
    method: 'POST',
    path,
    summary,
    input: z.strictObject({ ...command, ...shape }),
    data: done,
    errors: [...CHANGE, ...errors],
  });
}

const AT = '/projects/{project_id}';
const ARTIFACT = `${AT}/artifacts/{artifact_id}`;
const GATE = `${AT}/phases/{phase_id}/gate`;

export const PROJECTS = {
  // Before those with ids: served alone, /projects/keys is this one, not a project of that id.
  keys: endpoint({
    role,
    name: 'keys',
    method: 'GET',
    path: '/keys',
    summary: 'The signing keys, without their private halves',
    input: z.strictObject({}),
    data: z.looseObject({ keys: z.array(keyInfo) }),
  }),
  rotateKey: endpoint({
    role,
    name: 'rotate-key',
    method: 'POST',
    path: '/keys',
    summary: 'Make a new signing key; the one before signs no longer',
    input: z.strictObject({}),
    data: keyInfo,
    status: 201,
    scope: 'admin',
  }),
  trustKey: endpoint({
    role,
    name: 'trust-key',
    method: 'POST',
    path: '/keys/trust',
    summary: "Know the public half of somebody else's key",
    input: z.strictObject({
      public_jwk: z.looseObject({
        kty: z.literal('EC'),
        crv: z.literal('P-256'),
        x: z.string().max(64),
        y: z.string().max(64),
      }),
    }),
    data: keyInfo,
    scope: 'admin',
  }),
  key: endpoint({
    role,
    name: 'key',
    method: 'GET',
    path: '/keys/{key_id}',
    summary: 'The public half of a key',
    input: z.strictObject({ key_id: z.string().min(1).max(128) }),
    data: z.looseObject({ key_id: z.string(), public_jwk: keyInfo.shape.public_jwk }),
    errors: ['SIGNING_KEY_NOT_FOUND'],
  }),
  health: healthOf(role),
  import: endpoint({
    role,
    name: 'import',
    method: 'POST',
    path: '/imports',
    summary: 'Take a project or a bundle in; strict unless lenient is asked for',
    // A document has bounds of its own, and its findings are told all at once.
    rawInput: true,
    input: z.strictObject({
      ...author,
      /** The project or bundle: as JSON, or as the text of a file. */
      document: z.unknown().optional(),
      text: z.string().optional(),
      mode: z.enum(['strict', 'lenient']).default('strict'),
      fail_fast: z.boolean().default(false),
      /** Also hold it to the rules of its plan. */
      plan_rules: z.boolean().default(false),
      require_signature: z.boolean().default(false),
      /** What to do where the id is taken; else PROJECT_EXISTS tells the choices. */
      on_collision: z.enum(['overwrite', 'keep-both', 'cancel']).optional(),
      /** Id of a copy; default a new UUID. */
      new_id: id.optional(),
      expected_revision: command.expected_revision,
      /** Overwrite only what is at most 2 s newer by its lastModified. */
      by_time: z.boolean().default(false),
    }),
    data: z.looseObject({
      status: z.enum(['success', 'cancelled']),
      ...project,
      findings: z.array(finding),
    }),
    status: 201,
    errors: ['PROJECT_INVALID', 'PROJECT_EXISTS', 'PROJECT_NOT_FOUND', 'VERSION_CONFLICT'],
    maxBodyBytes: LIMITS.projectBodyBytes,
  }),
  create: endpoint({
    role,
    name: 'create',
    method: 'POST',
    path: '/projects',
    summary: 'Make a project of a plan',
    input: z.strictObject({
      ...author,
      /** Default: a new UUID. */
      project_id: id.optional(),
      name: text,
      description: text.optional(),
      governance_mode: z.enum(['solo', 'team']).default('team'),
      plan_id: name.default('cpmai'),
      template_set_profile: name.optional(),
      /** Only where the plan has no phases of its own. */
      phases: z
        .array(
          z.strictObject({
            name: text,
            artifacts: z
              .array(
                z.strictObject({
                  name: text,
                  category: z.enum(['core', 'conditional', 'supplemental']),
                  isGateBlocking: z.boolean(),
                  template: z.strictObject({ id: name, version: name }).optional(),
                }),
              )
              .optional(),
          }),
        )
        .optional(),
    }),
    data: done,
    status: 201,
    errors: ['PROJECT_EXISTS', 'PROJECT_INVALID'],
  }),
  list: endpoint({
    role,
    name: 'list',
    method: 'GET',
    path: '/projects',
    summary: 'Projects, oldest first',
    input: z.strictObject({
      plan_id: name.optional(),
      governance_mode: z.enum(['solo', 'team']).optional(),
      limit,
      cursor,
      at_least: atLeast,
    }),
    query: ['plan_id', 'governance_mode', 'limit', 'cursor', 'at_least'],
    data: z.looseObject({
      projects: z.array(z.looseObject({ ...project, name: z.string(), revision })),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  get: endpoint({
    role,
    name: 'get',
    method: 'GET',
    path: AT,
    summary: 'One project: its document, and beside it what is computed of it',
    input: z.strictObject({ ...project, at_least: atLeast }),
    query: ['at_least'],
    data: projectAnswer,
    errors: [...READ, 'VIEW_BEHIND'],
  }),
  asOf: endpoint({
    role,
    name: 'as-of',
    method: 'GET',
    path: `${AT}/as-of`,
    summary: 'The project as it was at a sequence or a time',
    input: z.strictObject({ ...project, ...point }),
    query: ['seq', 'at'],
    data: projectAnswer,
    errors: READ,
  }),
  history: endpoint({
    role,
    name: 'history',
    method: 'GET',
    path: `${AT}/history`,
    summary: 'What happened to a project, oldest first: who, when, what',
    input: z.strictObject({ ...project, limit, cursor }),
    query: ['limit', 'cursor'],
    data: z.looseObject({
      events: z.array(z.looseObject({ type: z.string(), seq: z.int(), actor_id: z.string() })),
      next_cursor: z.string().nullable(),
    }),
    errors: READ,
  }),
  decisions: endpoint({
    role,
    name: 'decisions',
    method: 'GET',
    path: `${AT}/decisions`,
    summary: 'Every decision of a gate: who, what, why, and on what',
    input: z.strictObject(project),
    data: z.looseObject({
      decisions: z.array(z.looseObject({ phase_id: z.string(), decision: z.string() })),
    }),
    errors: READ,
  }),
  update: change(
    'update',
    AT,
    'Rename or describe a project',
    {
      ...project,
      name: text.optional(),
      description: text.optional(),
      // Named here so that an attempt is told what it is: they never change.
      id: z.unknown().optional(),
      created: z.unknown().optional(),
      governance_mode: z.unknown().optional(),
      plan: z.unknown().optional(),
      plan_id: z.unknown().optional(),
      schema_version: z.unknown().optional(),
    },
    ['PROJECT_IMMUTABLE'],
  ),
  updateArtifact: change('update-artifact', ARTIFACT, 'Change what an artifact holds', {
    ...artifact,
    name: text.optional(),
    rationale: text.optional(),
    notes: text.optional(),
    assigned_to: name.optional(),
    /** By field; null takes a value away. */
    field_values: z.record(z.string(), z.unknown()).optional(),
    template: z.strictObject({ id: name, version: name }).optional(),
  }),
  applyWaiver: change(
    'apply-waiver',
    `${ARTIFACT}/waiver`,
    'Waive an artifact, with a reason',
    { ...artifact, rationale: text },
    ['POLICY_REFUSED'],
  ),
  removeWaiver: endpoint({
    role,
    name: 'remove-waiver',
    method: 'DELETE',
    path: `${ARTIFACT}/waiver`,
    summary: 'Take a waiver away',
    input: z.strictObject({ ...artifact, ...command }),
    query: COMMAND_QUERY,
    data: done,
    errors: CHANGE,
  }),
  addComment: change('add-comment', `${ARTIFACT}/comments`, 'Comment on an artifact', {
    ...artifact,
    /** Given, the same comment again is done already. Default: a new UUID. */
    comment_id: commentPlace.comment_id.optional(),
    comment_type: z.enum(['advisory', 'self-critique', 'future-review']).default('advisory'),
    content: text,
  }),
  resolveComment: change(
    'resolve-comment',
    `${ARTIFACT}/comments/{comment_id}/resolve`,
    'Resolve a comment',
    commentPlace,
  ),
  reopenComment: change(
    'reopen-comment',
    `${ARTIFACT}/comments/{comment_id}/reopen`,
    'Open a resolved comment again',
    commentPlace,
  ),
  gate: endpoint({
    role,
    name: 'gate',
    method: 'GET',
    path: GATE,
    summary: 'Whether the gate of a phase is ready, what locks it, how it was decided',
    input: z.strictObject(phase),
    data: gateAnswer,
    errors: PART,
  }),
  decideGate: change(
    'decide-gate',
    GATE,
    'Decide the gate of a phase',
    { ...phase, decision: z.enum(['go', 'no-go']), notes: text.default('') },
    ['GATE_LOCKED', 'ILLEGAL_TRANSITION', 'POLICY_REFUSED'],
  ),
  reopenGate: change('reopen-gate', `${GATE}/reopen`, 'Open a decided gate again', {
    ...phase,
    reason: text,
  }),
  heartbeat: endpoint({
    role,
    name: 'heartbeat',
    method: 'POST',
    path: `${AT}/heartbeat`,
    summary: 'An agent says that it is there; the first time links it',
    input: z.strictObject({ ...project, agent_id: trimmedId }),
    data: z.looseObject({
      agent_id: id,
      linkedAgentIds: z.array(z.unknown()),
      lastAgentHeartbeat: z.string().nullable(),
    }),
    errors: [...READ, 'VERSION_CONFLICT'],
    scope: 'ingest',
  }),
  linkAgent: change('link-agent', `${AT}/agents`, 'Link an agent to a project', {
    ...project,
    agent_id: id,
  }),
  proposeDraft: endpoint({
    role,
    name: 'propose-draft',
    method: 'POST',
    path: `${ARTIFACT}/drafts`,
    summary: 'An agent proposes content for an artifact; advice only',
    input: z.strictObject({ ...draftPlace, agent_id: id, content: draftContent }),
    data: done,
    errors: CHANGE,
    scope: 'ingest',
  }),
  acceptDraft: change(
    'accept-draft',
    `${ARTIFACT}/drafts/{draft_id}/accept`,
    'Take a draft over into its artifact',
    draftPlace,
  ),
  dismissDraft: change(
    'dismiss-draft',
    `${ARTIFACT}/drafts/{draft_id}/dismiss`,
    'Turn a draft down',
    draftPlace,
  ),
  revert: change(
    'revert',
    `${AT}/revert`,
    'Bring content, waivers and open gates back to what they were; history grows',
    { ...project, ...point },
    ['ILLEGAL_TRANSITION'],
  ),
  migrate: change(
    'migrate',
    `${AT}/migrate`,
    'Bring a stored document to the current schema',
    project,
    ['PROJECT_INVALID'],
  ),
  export: endpoint({
    role,
    name: 'export',
    method: 'GET',
    path: `${AT}/export`,
    summary: 'A bundle of the project, with hash and head of its history; signed if asked',
    input: z.strictObject({
      ...project,
      sign: z.union([z.boolean(), z.stringbool()]).default(false),
    }),
    query: ['sign'],
    data: z.looseObject({
      /** Canonical JSON: the bytes of the file. */
      text: z.string(),
      filename: z.string(),
      hash: z.string(),
      key_id: z.string().nullable(),
    }),
    errors: [...READ, 'SIGNING_KEY_NOT_FOUND'],
  }),
  verify: endpoint({
    role,
    name: 'verify',
    method: 'GET',
    path: `${AT}/verify`,
    summary: 'Whether the history of a project is whole, against an exported head if one is given',
    input: z.strictObject({
      ...project,
      entries: z.coerce.number().int().min(1).optional(),
      head: z
        .string()
        .regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits')
        .optional(),
    }),
    query: ['entries', 'head'],
    data: z.looseObject({
      valid: z.boolean(),
      entries: z.int(),
      broken_at: z.int().nullable(),
      fault: z.string().nullable(),
      head: z.string(),
    }),
    errors: READ,
  }),
} as const;
