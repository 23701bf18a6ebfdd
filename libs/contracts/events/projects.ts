import { z } from 'zod';
import { id } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { objectRef } from '../shapes.ts';

/**
 * Events of governed projects: a context of its own, apart from the ledger's events. Documents are
 * objects named by digest, so an import of any size fits into an event.
 */
const text = z.string().max(LIMITS.projectTextChars);
const short = z.string().min(1).max(256);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits');
/** As `Date.toISOString` writes it, so that times compare as texts do. */
const instant = z.iso.datetime({
  precision: 3,
  error: 'must be ISO-8601 in UTC with milliseconds',
});
const place = { phase_id: z.string().min(1), artifact_id: z.string().min(1) };
const comment = { ...place, comment_id: z.string().min(1).max(128) };
const draft = { artifact_id: z.string().min(1), draft_id: id };

/** What an advisory draft proposes for an artifact. */
export const draftContent = z.strictObject({
  rationale: text.optional(),
  notes: text.optional(),
  field_values: z.record(z.string(), z.unknown()).optional(),
});
export type DraftContent = z.output<typeof draftContent>;

const gateStatus = z.enum(['go', 'no-go']);
const commentType = z.enum(['advisory', 'self-critique', 'future-review']);

/** Payloads by type; all of them but those of agents are links of the project's hash chain. */
export const PROJECT_EVENTS = {
  PROJECT_CREATED: z.looseObject({ document: objectRef, plan_id: short }),
  PROJECT_IMPORTED: z.looseObject({
    document: objectRef,
    /** True: it took the place of the document that was there. */
    replaces: z.boolean(),
    kind: z.enum(['bundle', 'project']),
    mode: z.enum(['strict', 'lenient']),
    /** Schema version it came in. */
    from: z.string(),
    /** Of the document as it came. */
    source_hash: sha256,
    signature: z.enum(['valid', 'absent', 'unknown-key']),
    key_id: z.string().nullable(),
    /** Where the history of the document's origin stood when it was exported. */
    history: z.looseObject({ entries: z.int().min(0), head: z.string() }).optional(),
    /** Id it came under, where it was given a new one. */
    copy_of: z.string().nullable(),
  }),
  PROJECT_MIGRATED: z.looseObject({
    from: z.string(),
    to: z.string(),
    /** How many values changed, and the paths of the first of them. */
    count: z.int().min(0),
    paths: z.array(z.string()).max(100),
    /** Absent where the document was told by the event before. */
    document: objectRef.optional(),
  }),
  PROJECT_UPDATED: z.looseObject({ name: text.min(1).optional(), description: text.optional() }),
  ARTIFACT_UPDATED: z.looseObject({
    ...place,
    name: text.min(1).optional(),
    rationale: text.optional(),
    notes: text.optional(),
    assigned_to: short.optional(),
    /** Values that are set; others stay. */
    field_values: z.record(z.string(), z.unknown()).optional(),
    /** Values that are taken away. */
    cleared: z.array(z.string()).optional(),
    template: z
      .looseObject({ template_id: short, template_version: short, template_hash: sha256 })
      .optional(),
  }),
  WAIVER_APPLIED: z.looseObject({ ...place, rationale: text }),
  WAIVER_REMOVED: z.looseObject({ ...place, rationale: text }),
  COMMENT_ADDED: z.looseObject({ ...comment, comment_type: commentType, content: text }),
  COMMENT_RESOLVED: z.looseObject(comment),
  COMMENT_REOPENED: z.looseObject(comment),
  GATE_DECIDED: z.looseObject({
    phase_id: z.string().min(1),
    decision: gateStatus,
    notes: text,
    attestation_type: z.enum(['solo_attestation', 'team_decision']),
    /** What the decision was made on: each blocking artifact, its status and its digest. */
    basis: z.array(z.looseObject({ artifact_id: z.string(), status: z.string(), sha256 })),
  }),
  GATE_REOPENED: z.looseObject({ phase_id: z.string().min(1), was: gateStatus, reason: text }),
  DRAFT_ACCEPTED: z.looseObject({ ...draft, agent_id: id, sha256 }),
  DRAFT_DISMISSED: z.looseObject({ ...draft, agent_id: id, sha256 }),
  AGENT_LINKED: z.looseObject({ agent_id: id }),
  AGENT_HEARTBEAT: z.looseObject({ agent_id: id }),
  DRAFT_PROPOSED: z.looseObject({ ...draft, agent_id: id, content: draftContent }),
} as const;

export type ProjectEventType = keyof typeof PROJECT_EVENTS;
export type ProjectPayload<T extends ProjectEventType> = z.output<(typeof PROJECT_EVENTS)[T]>;

/** What agents tell: appended whatever the project's revision, and no link of its chain. */
export const AGENT_EVENTS = ['AGENT_LINKED', 'AGENT_HEARTBEAT', 'DRAFT_PROPOSED'] as const;
export type AgentEventType = (typeof AGENT_EVENTS)[number];
export type ChainEventType = Exclude<ProjectEventType, AgentEventType>;

type Base<T extends ProjectEventType> = {
  type: T;
  garrison_id: string;
  project_id: string;
  actor_id: string;
  /** Device of the writer; becomes `lastSavedFrom`. */
  saved_from: string;
  timestamp: string;
  payload: ProjectPayload<T>;
  /** SHA-256 of the rest of the event: its id. */
  hash: string;
};

/** An event of the hash chain. */
export type ChainEventOf<T extends ChainEventType = ChainEventType> = Base<T> & {
  /** From 0 in its project, without gaps. */
  sequence: number;
  prev_hash: string;
};

export type ChainEvent = { [T in ChainEventType]: ChainEventOf<T> }[ChainEventType];
export type AgentEvent = { [T in AgentEventType]: Base<T> }[AgentEventType];
export type ProjectEvent = ChainEvent | AgentEvent;
/** An event with the stream sequence at which it is stored. */
export type StoredProjectEvent = ProjectEvent & { readonly seq: number };

const base = {
  garrison_id: id,
  project_id: id,
  actor_id: short,
  saved_from: short,
  timestamp: instant,
  hash: sha256,
};

/** The stored form of an event, for what reads it back. The payload is parsed by its type. */
export const projectEvent = z.union([
  z.looseObject({
    ...base,
    type: z.enum(AGENT_EVENTS),
    payload: z.record(z.string(), z.unknown()),
  }),
  z.looseObject({
    ...base,
    type: z.enum(
      Object.keys(PROJECT_EVENTS).filter(
        (type) => !(AGENT_EVENTS as readonly string[]).includes(type),
      ) as [ChainEventType, ...ChainEventType[]],
    ),
    sequence: z.int().min(0),
    prev_hash: sha256,
    payload: z.record(z.string(), z.unknown()),
  }),
]);

/**
 * Reads an event back from what is stored.
 * @throws {ZodError} wrong shape
 */
export function parseProjectEvent(value: unknown): ProjectEvent {
  const event = projectEvent.parse(value);
  return { ...event, payload: PROJECT_EVENTS[event.type].parse(event.payload) } as ProjectEvent;
}
