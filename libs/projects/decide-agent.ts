import { invalid, isId, LIMITS, type DraftContent, type ProjectPayload } from '#libs/contracts';
import { canonicalJson, hashOf } from './canonical.ts';
import {
  agentDecision,
  type Author,
  draftOn,
  noPart,
  nothing,
  type ProjectDecision,
  refuse,
  refused,
} from './decision.ts';
import { noArtifact, updateArtifact } from './decide-artifact.ts';
import type { Engine } from './engine.ts';
import type { Draft } from './evolve.ts';
import { findArtifact, type ProjectState } from './state.ts';
import { isHostileKey, isObject } from './text.ts';

/** Links an agent to a project; one that is linked is linked already. */
export function linkAgent(
  state: ProjectState,
  command: Author & { agentId: string },
): ProjectDecision {
  const fault = agentFault(state, command.agentId);
  if (fault !== undefined) return fault;
  return agentDecision(state, command, linkOf(state, command.agentId));
}

/**
 * An agent says that it is there; the first time links it. Appended whatever the revision, so any
 * number of agents at once are all kept, and nobody's edit meets a conflict because of them.
 */
export function heartbeat(
  state: ProjectState,
  command: Author & { agentId: string },
): ProjectDecision {
  const { agentId: agent_id } = command;
  const fault = agentFault(state, agent_id);
  if (fault !== undefined) return fault;
  const beat = { type: 'AGENT_HEARTBEAT' as const, payload: { agent_id } };
  return agentDecision(state, command, [...linkOf(state, agent_id), beat]);
}

function linkOf({ document }: ProjectState, agent_id: string) {
  if (document.openclaw.linkedAgentIds.includes(agent_id)) return [];
  return [{ type: 'AGENT_LINKED' as const, payload: { agent_id } }];
}

function agentFault({ document }: ProjectState, agentId: string): ProjectDecision | undefined {
  if (!isId(agentId)) return refused(invalid('agent_id', 'must be an id'));
  const { linkedAgentIds } = document.openclaw;
  const limit = LIMITS.projectAgents;
  if (linkedAgentIds.length < limit || linkedAgentIds.includes(agentId)) return undefined;
  return refuse('PAYLOAD_TOO_LARGE', { what: 'number of agents', limit });
}

export type ProposeDraft = Author & {
  agentId: string;
  artifactId: string;
  draftId: string;
  content: DraftContent;
};

/** An agent proposes content for an artifact. Advice only: no phase changes by it. */
export function proposeDraft(state: ProjectState, command: ProposeDraft): ProjectDecision {
  const { agentId: agent_id, artifactId: artifact_id, draftId: draft_id, content } = command;
  if (!isId(agent_id)) return refused(invalid('agent_id', 'must be an id'));
  if (!isId(draft_id) || isHostileKey(draft_id)) {
    return refused(invalid('draft_id', 'must be an id'));
  }
  if (isHostileKey(artifact_id)) return refused(invalid('artifact_id', 'is not an allowed key'));
  if (findArtifact(state.document, artifact_id) === undefined)
    return noArtifact(state, artifact_id);
  if (Buffer.byteLength(canonicalJson(content)) > LIMITS.projectValueBytes) {
    const limit = LIMITS.projectValueBytes;
    return refuse('PAYLOAD_TOO_LARGE', { what: 'content', limit }, { field: 'content' });
  }
  const known = draftOf(state, artifact_id);
  if (known?.draft_id === draft_id && canonicalJson(known.content) === canonicalJson(content)) {
    return agentDecision(state, command, []);
  }
  const payload: ProjectPayload<'DRAFT_PROPOSED'> = { artifact_id, draft_id, agent_id, content };
  return agentDecision(state, command, [{ type: 'DRAFT_PROPOSED', payload }]);
}

export type JudgeDraft = Author & { artifactId: string; draftId: string };

/** A person takes a draft over: the artifact gets its content, under the person's name. */
export function acceptDraft(
  state: ProjectState,
  command: JudgeDraft,
  engine: Engine,
): ProjectDecision {
  const { artifactId, draftId } = command;
  const draft = draftOf(state, artifactId);
  if (draft?.draft_id !== draftId) return noPart(state.document.id, 'draft', draftId);
  const { rationale, notes, field_values } = draft.content;
  const change = { rationale, notes, fieldValues: field_values };
  const update = updateArtifact(state, { ...command, ...change }, engine);
  if (!update.ok) return update;
  const draftEvents = draftOn(state, command);
  for (const event of update.events) {
    if (event.type === 'ARTIFACT_UPDATED') draftEvents.link(event.type, event.payload);
  }
  return draftEvents.link('DRAFT_ACCEPTED', judged(draft, artifactId)).done();
}

/** A person turns a draft down; one that is gone is done already. */
export function dismissDraft(state: ProjectState, command: JudgeDraft): ProjectDecision {
  const { artifactId, draftId } = command;
  if (findArtifact(state.document, artifactId) === undefined) return noArtifact(state, artifactId);
  const draft = draftOf(state, artifactId);
  if (draft?.draft_id !== draftId) return nothing(state);
  return draftOn(state, command).link('DRAFT_DISMISSED', judged(draft, artifactId)).done();
}

function judged({ draft_id, agent_id, content }: Draft, artifact_id: string) {
  return { artifact_id, draft_id, agent_id, sha256: hashOf(content) };
}

/** The draft of an artifact; undefined where there is none, or one of a form that is not ours. */
export function draftOf({ document }: ProjectState, artifactId: string): Draft | undefined {
  const { advisoryDrafts } = document.openclaw;
  const draft = Object.hasOwn(advisoryDrafts, artifactId) ? advisoryDrafts[artifactId] : undefined;
  if (!isObject(draft) || !isObject(draft.content)) return undefined;
  const { draft_id, agent_id } = draft;
  return isId(draft_id) && isId(agent_id) ? (draft as unknown as Draft) : undefined;
}
