import {
  type ChainEvent,
  type DraftContent,
  LIMITS,
  type ObjectRef,
  type ProjectEvent,
  type ProjectPayload,
  type StoredProjectEvent,
} from '#libs/contracts';
import { canonicalJson } from './canonical.ts';
import { type ChainEntry, headAfter } from './chain.ts';
import {
  type AgentBlock,
  type Artifact,
  ATTESTATION,
  type AuditEntry,
  type Comment,
  type ProjectDocument,
} from './document.ts';
import { type ProjectState, withArtifact, withPhase } from './state.ts';
import { isObject } from './text.ts';

/** Finds the document that an event names; the caller has loaded it (`documentOf`). */
export type Documents = (ref: ObjectRef) => unknown;

/** An advisory draft as the document holds it, by artifact. */
export type Draft = {
  draft_id: string;
  agent_id: string;
  content: DraftContent;
  createdAt: string;
};

/** The document an event brings with it, to be loaded before the event is folded. */
export function documentOf(event: ProjectEvent): ObjectRef | undefined {
  const { payload } = event;
  return 'document' in payload ? (payload.document as ObjectRef | undefined) : undefined;
}

/** True for an event that is a link of the project's chain. */
export function isChainEvent(event: ProjectEvent): event is ChainEvent {
  return 'sequence' in event;
}

/**
 * Folds one event; undefined until the project is there. An event that was folded before changes
 * nothing. The audit log only grows, whatever a document says that takes another's place.
 * @throws {TypeError} the document that the event names was not loaded
 */
export function evolveProject(
  state: ProjectState | undefined,
  event: StoredProjectEvent,
  documents: Documents,
): ProjectState | undefined {
  const { seq } = event;
  if (state === undefined) {
    if (event.type !== 'PROJECT_CREATED' && event.type !== 'PROJECT_IMPORTED') return undefined;
    const document = loaded(event.payload.document, documents);
    const chain = headAfter(event as ChainEntry);
    return { document, garrison_id: event.garrison_id, revision: seq, chain, seq };
  }
  if (seq <= state.seq) return state;
  if (!isChainEvent(event)) {
    const openclaw = agentsAfter(state.document, event);
    return { ...state, document: { ...state.document, openclaw }, seq };
  }
  const document = documentAfter(state.document, event, documents);
  return { ...state, document, revision: seq, chain: headAfter(event as ChainEntry), seq };
}

/** Folds events in stream order, from a snapshot if there is one. */
export function foldProject(
  events: Iterable<StoredProjectEvent>,
  documents: Documents,
  from?: ProjectState,
): ProjectState | undefined {
  let state = from;
  for (const event of events) state = evolveProject(state, event, documents);
  return state;
}

function loaded(ref: ObjectRef, documents: Documents): ProjectDocument {
  const document = documents(ref);
  if (!isObject(document)) throw new TypeError(`document ${ref.sha256} was not loaded`);
  return document as ProjectDocument;
}

function documentAfter(
  document: ProjectDocument,
  event: ChainEvent,
  documents: Documents,
): ProjectDocument {
  if (event.type === 'PROJECT_CREATED') return document;
  const replacement = documentOf(event);
  if (replacement !== undefined) {
    const next = loaded(replacement, documents);
    const { id, created, governance_mode, audit_log } = document;
    const log = mergeAudit(audit_log, next.audit_log);
    return { ...next, id, created, governance_mode, audit_log: log };
  }
  const { timestamp: lastModified, saved_from: lastSavedFrom } = event;
  return { ...changed(document, event), lastModified, lastSavedFrom };
}

function changed(document: ProjectDocument, event: ChainEvent): ProjectDocument {
  switch (event.type) {
    case 'PROJECT_UPDATED': {
      const { name = document.name, description = document.description } = event.payload;
      return { ...document, name, description };
    }
    case 'ARTIFACT_UPDATED':
      return updated(document, event, (artifact) => patched(artifact, event.payload));
    case 'WAIVER_APPLIED':
    case 'WAIVER_REMOVED':
      return audited(
        updated(document, event, (artifact) => waived(artifact, event)),
        event,
      );
    case 'COMMENT_ADDED':
    case 'COMMENT_RESOLVED':
    case 'COMMENT_REOPENED':
      return updated(document, event, (artifact) => commented(artifact, event));
    case 'GATE_DECIDED':
    case 'GATE_REOPENED':
      return decided(document, event);
    case 'DRAFT_ACCEPTED':
    case 'DRAFT_DISMISSED':
      return withoutDraft(document, event.payload);
    default:
      return document;
  }
}

type Placed = { timestamp: string; payload: { phase_id: string; artifact_id: string } };

function updated(
  document: ProjectDocument,
  { payload, timestamp }: Placed,
  change: (artifact: Artifact) => Artifact,
): ProjectDocument {
  const { phase_id, artifact_id } = payload;
  return withArtifact(document, { phase_id, artifact_id }, (artifact) => ({
    ...change(artifact),
    lastModified: timestamp,
  }));
}

function patched(artifact: Artifact, payload: ProjectPayload<'ARTIFACT_UPDATED'>): Artifact {
  const { name, rationale, notes, assigned_to, field_values, cleared = [], template } = payload;
  const values = { ...artifact.field_values, ...field_values };
  for (const key of cleared) delete values[key];
  return {
    ...artifact,
    name: name ?? artifact.name,
    rationale: rationale ?? artifact.rationale,
    notes: notes ?? artifact.notes,
    assigned_to: assigned_to ?? artifact.assigned_to,
    field_values: values,
    ...(template && {
      template_id: template.template_id,
      template_version: template.template_version,
      template_hash: template.template_hash,
    }),
  };
}

type WaiverEvent = ChainEvent & { type: 'WAIVER_APPLIED' | 'WAIVER_REMOVED' };

function waived(artifact: Artifact, event: WaiverEvent): Artifact {
  if (event.type === 'WAIVER_REMOVED') return { ...artifact, waiver: null };
  const { rationale } = event.payload;
  const waiver = { waived: true, rationale, waived_at: event.timestamp, waived_by: event.actor_id };
  return { ...artifact, waiver };
}

function audited(document: ProjectDocument, event: WaiverEvent): ProjectDocument {
  const { type, actor_id, timestamp, payload } = event;
  const { phase_id, artifact_id, rationale } = payload;
  const entry: AuditEntry = { type, actor_id, phase_id, artifact_id, rationale, timestamp };
  return { ...document, audit_log: [...document.audit_log, entry] };
}

/** What is here, then what the other log has besides: neither loses an entry. */
export function mergeAudit(
  own: readonly AuditEntry[],
  other: readonly AuditEntry[],
): readonly AuditEntry[] {
  const known = new Map<string, number>();
  for (const entry of own) {
    const key = canonicalJson(entry);
    known.set(key, (known.get(key) ?? 0) + 1);
  }
  const fresh = other.filter((entry) => {
    const key = canonicalJson(entry);
    const left = known.get(key) ?? 0;
    known.set(key, left - 1);
    return left <= 0;
  });
  return fresh.length === 0 ? own : [...own, ...fresh];
}

type CommentEvent = ChainEvent & {
  type: 'COMMENT_ADDED' | 'COMMENT_RESOLVED' | 'COMMENT_REOPENED';
};

function commented(artifact: Artifact, event: CommentEvent): Artifact {
  const { timestamp, actor_id } = event;
  const { comment_id: id } = event.payload;
  if (event.type === 'COMMENT_ADDED') {
    const { comment_type, content } = event.payload;
    const comment: Comment = {
      id,
      comment_type,
      content,
      status: 'open',
      created_at: timestamp,
      created_by: actor_id,
      resolved_at: null,
      resolved_by: null,
    };
    return { ...artifact, comments: [...artifact.comments, comment] };
  }
  const change =
    event.type === 'COMMENT_RESOLVED'
      ? { status: 'resolved' as const, resolved_at: timestamp, resolved_by: actor_id }
      : { status: 'open' as const, resolved_at: null, resolved_by: null };
  const comments = artifact.comments.map((one) => (one.id === id ? { ...one, ...change } : one));
  return { ...artifact, comments };
}

function decided(
  document: ProjectDocument,
  event: ChainEvent & { type: 'GATE_DECIDED' | 'GATE_REOPENED' },
): ProjectDocument {
  return withPhase(document, event.payload.phase_id, (phase) => {
    const attestation_type = ATTESTATION[document.governance_mode];
    const outcome =
      event.type === 'GATE_DECIDED'
        ? {
            status: event.payload.decision,
            decidedAt: event.timestamp,
            notes: event.payload.notes,
            attestation_type,
          }
        : { status: 'pending' as const, decidedAt: null, notes: '', attestation_type };
    return { ...phase, goNoGoDecision: { ...phase.goNoGoDecision, ...outcome } };
  });
}

function agentsAfter(
  { openclaw }: ProjectDocument,
  event: Exclude<ProjectEvent, ChainEvent>,
): AgentBlock {
  const { agent_id } = event.payload;
  const { linkedAgentIds: linked, lastAgentHeartbeat: last, advisoryDrafts } = openclaw;
  if (event.type === 'DRAFT_PROPOSED') {
    const { artifact_id, draft_id, content } = event.payload;
    const draft: Draft = { draft_id, agent_id, content, createdAt: event.timestamp };
    return { ...openclaw, advisoryDrafts: withMember(advisoryDrafts, artifact_id, draft) };
  }
  const full = linked.includes(agent_id) || linked.length >= LIMITS.projectAgents;
  const linkedAgentIds = full ? linked : [...linked, agent_id];
  if (event.type === 'AGENT_LINKED') return { ...openclaw, linkedAgentIds };
  const { timestamp } = event;
  const lastAgentHeartbeat = last === null || last < timestamp ? timestamp : last;
  return { ...openclaw, linkedAgentIds, lastAgentHeartbeat };
}

/** The draft that was judged is gone; one that came after it stays. */
function withoutDraft(
  document: ProjectDocument,
  { artifact_id, draft_id }: { artifact_id: string; draft_id: string },
): ProjectDocument {
  const { openclaw } = document;
  const entries = Object.entries(openclaw.advisoryDrafts).filter(
    ([key, draft]) => key !== artifact_id || !isObject(draft) || draft.draft_id !== draft_id,
  );
  return { ...document, openclaw: { ...openclaw, advisoryDrafts: Object.fromEntries(entries) } };
}

/** Never assigns: a key may be any text. */
function withMember(record: Readonly<Record<string, unknown>>, key: string, value: unknown) {
  return Object.fromEntries([...Object.entries(record).filter(([at]) => at !== key), [key, value]]);
}
