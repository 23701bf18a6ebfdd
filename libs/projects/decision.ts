import {
  type AgentEventType,
  AppError,
  type ChainEventType,
  type ErrorCode,
  type ErrorDetail,
  LIMITS,
  type ObjectRef,
  type ProjectEvent,
  type ProjectPayload,
} from '#libs/contracts';
import { canonicalJson, sha256Hex } from './canonical.ts';
import { type ChainHead, entryHash, headAfter, nextEntry } from './chain.ts';
import type { Finding } from './findings.ts';
import type { ProjectState } from './state.ts';

/** Who does it, from where and when: every command has it. */
export type Author = {
  /** Person or agent, as the audit log names it. */
  actorId: string;
  /** Device of the writer. Default: the actor. */
  savedFrom?: string | undefined;
  /** ISO-8601 with milliseconds, UTC. */
  now: string;
};

/** A document to store before the events that name it. */
export type StoredDocument = { ref: ObjectRef; text: string };

/** What is worth saying about a decision that is taken all the same. */
export type DecisionWarning = { code: string; message: string };

/** What a command leads to, or why it is refused. No events: it is done already. */
export type ProjectDecision =
  | {
      ok: true;
      events: ProjectEvent[];
      /**
       * Revision at which the chain's subject must stand for all of them to be appended; null: append
       * whatever it is (agents' events).
       */
      expect: number | null;
      documents: StoredDocument[];
      warnings: DecisionWarning[];
    }
  | { ok: false; error: AppError };

type Base = Pick<ProjectState, 'chain' | 'revision' | 'garrison_id'> & { projectId: string };

/** Collects the events of one decision as links of the project's chain. */
export type Draft = {
  link<T extends ChainEventType>(type: T, payload: ProjectPayload<T>): Draft;
  store(document: unknown): ObjectRef;
  done(...warnings: DecisionWarning[]): ProjectDecision;
};

/** Begins a decision on a project as it stands. */
export function draftOn(state: ProjectState, author: Author): Draft {
  return draftFor({ ...state, projectId: state.document.id }, author);
}

/**
 * Begins a decision on a project that may not be there yet. No event is earlier than the one before
 * it: a clock that lags behind the last writer's takes that writer's time.
 */
export function draftFor(base: Base, { actorId, savedFrom, now }: Author): Draft {
  const { garrison_id, projectId: project_id, revision } = base;
  const timestamp = base.chain.at !== null && now < base.chain.at ? base.chain.at : now;
  const fields = { garrison_id, project_id, actor_id: actorId, saved_from: savedFrom ?? actorId };
  const events: ProjectEvent[] = [];
  const documents: StoredDocument[] = [];
  let chain: ChainHead = base.chain;
  const draft: Draft = {
    link: (type, payload) => {
      const entry = nextEntry(chain, { ...fields, type, timestamp, payload: plain(payload) });
      chain = headAfter(entry);
      events.push(entry as unknown as ProjectEvent);
      return draft;
    },
    store: (document) => {
      const text = canonicalJson(document);
      const ref = { sha256: sha256Hex(text), bytes: Buffer.byteLength(text) };
      documents.push({ ref, text });
      return ref;
    },
    done: (...warnings) => {
      const large = events.find((event) => bytesOf(event) > LIMITS.eventBytes);
      if (large !== undefined) {
        return refuse('PAYLOAD_TOO_LARGE', { what: large.type, limit: LIMITS.eventBytes });
      }
      return { ok: true, events, expect: revision, documents, warnings };
    },
  };
  return draft;
}

/** Events of agents: no link of the chain, appended whatever the project's revision. */
export function agentDecision(
  { garrison_id, document }: ProjectState,
  { actorId, savedFrom, now }: Author,
  drafts: { [T in AgentEventType]: { type: T; payload: ProjectPayload<T> } }[AgentEventType][],
): ProjectDecision {
  const events = drafts.map(({ type, payload }) => {
    const event = {
      garrison_id,
      project_id: document.id,
      actor_id: actorId,
      saved_from: savedFrom ?? actorId,
      timestamp: now,
      type,
      payload: plain(payload),
    };
    return { ...event, hash: entryHash(event) } as unknown as ProjectEvent;
  });
  return { ok: true, events, expect: null, documents: [], warnings: [] };
}

/** It is done already. */
export function nothing({ revision }: { revision: number }): ProjectDecision {
  return { ok: true, events: [], expect: revision, documents: [], warnings: [] };
}

/** The command is refused with a code of the catalogue. */
export function refuse(
  code: ErrorCode,
  params: Record<string, string | number>,
  detail: ErrorDetail = {},
): ProjectDecision {
  return refused(new AppError(code, params, detail));
}

export function refused(error: AppError): ProjectDecision {
  return { ok: false, error };
}

/** Findings that one error carries. */
const FINDINGS_TOLD = 100;

/** A document that cannot be taken, with what was found in it. */
export function refuseDocument(findings: readonly Finding[]): ProjectDecision {
  const errors = findings.filter(({ level }) => level === 'error');
  const first = errors[0];
  return refuse(
    'PROJECT_INVALID',
    { count: errors.length, code: first?.code ?? '', path: first?.path ?? '$' },
    {
      ...(first !== undefined && { field: first.path }),
      details: { findings: findings.slice(0, FINDINGS_TOLD) },
    },
  );
}

/** The project has no such part. */
export function noPart(id: string, what: string, part: string | number): ProjectDecision {
  return refuse('PROJECT_PART_NOT_FOUND', { id, what, part });
}

/**
 * Compares the revision a writer has read with the one that is there (If-Match); undefined: none
 * was given.
 */
export function checkRevision(
  { document, revision }: ProjectState,
  expected: number | undefined,
): AppError | undefined {
  if (expected === undefined || expected === revision) return undefined;
  const params = { subject: document.id, actual: revision, expected };
  return new AppError('VERSION_CONFLICT', params, { details: { actual: revision } });
}

/** What JSON keeps of a payload: members without a value are gone before they are hashed. */
function plain<T>(payload: T): T {
  return JSON.parse(JSON.stringify(payload)) as T;
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
