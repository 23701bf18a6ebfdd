import { randomUUID } from 'node:crypto';
import { type API, AppError } from '#libs/contracts';
import {
  acceptDraft,
  addComment,
  applyWaiver,
  type Author,
  createProject,
  decideGate,
  dismissDraft,
  heartbeat,
  linkAgent,
  migrateStored,
  type ProjectDecision,
  type ProjectState,
  proposeDraft,
  removeWaiver,
  reopenComment,
  reopenGate,
  resolveComment,
  revertTo,
  updateArtifact,
  updateProject,
} from '#libs/projects';
import type { Ctx, Handlers } from '#libs/service';
import { authorOf, type Desk, doneBody, expectedOf, type Said, tagged } from './desk.ts';
import { pointOf, stateAsOf } from './reading.ts';

type Names =
  | 'create'
  | 'update'
  | 'updateArtifact'
  | 'applyWaiver'
  | 'removeWaiver'
  | 'addComment'
  | 'resolveComment'
  | 'reopenComment'
  | 'decideGate'
  | 'reopenGate'
  | 'heartbeat'
  | 'linkAgent'
  | 'proposeDraft'
  | 'acceptDraft'
  | 'dismissDraft'
  | 'revert'
  | 'migrate';

/** The handlers that change a project. */
export function commandHandlers(desk: Desk): Pick<Handlers<typeof API.projects>, Names> {
  const { engine, policy, store } = desk;
  const change = async (
    input: Said & { project_id: string },
    ctx: Ctx,
    decide: (state: ProjectState, author: Author) => ProjectDecision,
  ) => {
    const { project_id: id } = input;
    const author = authorOf(desk, input, ctx);
    const done = await store.command(id, expectedOf(input, ctx), (state) =>
      state === undefined ? missing(id) : decide(state, author),
    );
    return tagged(doneBody(done), done.state.revision);
  };
  return {
    ...documentHandlers(desk, change),
    applyWaiver: (input, ctx) => {
      const { artifact_id: artifactId, rationale } = input;
      return change(input, ctx, (state, author) =>
        applyWaiver(state, { ...author, artifactId, rationale }, policy),
      );
    },
    removeWaiver: (input, ctx) =>
      change(input, ctx, (state, author) =>
        removeWaiver(state, { ...author, artifactId: input.artifact_id }),
      ),
    ...commentHandlers(change),
    decideGate: (input, ctx) => {
      const { phase_id: phaseId, decision, notes } = input;
      return change(input, ctx, (state, author) =>
        decideGate(state, { ...author, phaseId, decision, notes }, engine, policy),
      );
    },
    reopenGate: (input, ctx) => {
      const { phase_id: phaseId, reason } = input;
      return change(input, ctx, (state, author) =>
        reopenGate(state, { ...author, phaseId, reason }),
      );
    },
    ...agentHandlers(desk, change),
    revert: async (input, ctx) => {
      const past = await stateAsOf(desk, input.project_id, pointOf(input));
      return change(input, ctx, (state, author) => revertTo(state, past, author));
    },
    migrate: (input, ctx) =>
      change(input, ctx, (state, author) => migrateStored(state, author, engine)),
  };
}

type Change = (
  input: Said & { project_id: string },
  ctx: Ctx,
  decide: (state: ProjectState, author: Author) => ProjectDecision,
) => Promise<ReturnType<typeof tagged<ReturnType<typeof doneBody>>>>;
type Part<K extends Names> = Pick<Handlers<typeof API.projects>, K>;

function documentHandlers(
  desk: Desk,
  change: Change,
): Part<'create' | 'update' | 'updateArtifact'> {
  const { config, engine, store } = desk;
  return {
    create: async (input, ctx) => {
      const { project_id: projectId = randomUUID(), name, description, phases } = input;
      const author = authorOf(desk, input, ctx);
      const command = {
        ...author,
        projectId,
        garrisonId: config.garrisonId,
        name,
        description,
        governanceMode: input.governance_mode,
        planId: input.plan_id,
        deviceId: author.savedFrom ?? author.actorId,
        templateSetProfile: input.template_set_profile,
        phases,
      };
      const done = await store.command(projectId, undefined, (state) =>
        createProject(state, command, engine),
      );
      const made = done.events.length > 0;
      return tagged(doneBody(done), done.state.revision, made ? 201 : 200);
    },
    update: (input, ctx) => {
      const { project_id: _id, actor_id, device_id, expected_revision, ...fields } = input;
      const said = { project_id: input.project_id, actor_id, device_id, expected_revision };
      // Whatever else is named stays named: what never changes is then refused as that.
      return change(said, ctx, (state, author) => updateProject(state, { ...author, ...fields }));
    },
    updateArtifact: (input, ctx) => {
      const { artifact_id: artifactId, name, rationale, notes, template } = input;
      const { assigned_to: assignedTo, field_values: fieldValues } = input;
      const values = { name, rationale, notes, assignedTo, fieldValues, template };
      return change(input, ctx, (state, author) =>
        updateArtifact(state, { ...author, artifactId, ...values }, engine),
      );
    },
  };
}

function commentHandlers(change: Change): Part<'addComment' | 'resolveComment' | 'reopenComment'> {
  return {
    addComment: (input, ctx) => {
      const { artifact_id: artifactId, comment_type: commentType, content } = input;
      const { comment_id: commentId = randomUUID() } = input;
      return change(input, ctx, (state, author) =>
        addComment(state, { ...author, artifactId, commentId, commentType, content }),
      );
    },
    resolveComment: (input, ctx) => {
      const { artifact_id: artifactId, comment_id: commentId } = input;
      return change(input, ctx, (state, author) =>
        resolveComment(state, { ...author, artifactId, commentId }),
      );
    },
    reopenComment: (input, ctx) => {
      const { artifact_id: artifactId, comment_id: commentId } = input;
      return change(input, ctx, (state, author) =>
        reopenComment(state, { ...author, artifactId, commentId }),
      );
    },
  };
}

function agentHandlers(
  desk: Desk,
  change: Change,
): Part<'heartbeat' | 'linkAgent' | 'proposeDraft' | 'acceptDraft' | 'dismissDraft'> {
  return {
    heartbeat: async ({ project_id: id, agent_id: agentId }, ctx) => {
      const author = authorOf(desk, { actor_id: agentId }, ctx);
      const { state } = await desk.store.command(id, undefined, (project) =>
        project === undefined ? missing(id) : heartbeat(project, { ...author, agentId }),
      );
      const { linkedAgentIds, lastAgentHeartbeat } = state.document.openclaw;
      return { agent_id: agentId, linkedAgentIds: [...linkedAgentIds], lastAgentHeartbeat };
    },
    linkAgent: ({ agent_id: agentId, ...input }, ctx) =>
      change(input, ctx, (state, author) => linkAgent(state, { ...author, agentId })),
    proposeDraft: ({ agent_id: agentId, ...input }, ctx) => {
      const { artifact_id: artifactId, draft_id: draftId, content } = input;
      return change({ ...input, actor_id: agentId }, ctx, (state, author) =>
        proposeDraft(state, { ...author, agentId, artifactId, draftId, content }),
      );
    },
    acceptDraft: (input, ctx) => {
      const { artifact_id: artifactId, draft_id: draftId } = input;
      return change(input, ctx, (state, author) =>
        acceptDraft(state, { ...author, artifactId, draftId }, desk.engine),
      );
    },
    dismissDraft: (input, ctx) => {
      const { artifact_id: artifactId, draft_id: draftId } = input;
      return change(input, ctx, (state, author) =>
        dismissDraft(state, { ...author, artifactId, draftId }),
      );
    },
  };
}

function missing(id: string): ProjectDecision {
  return { ok: false, error: new AppError('PROJECT_NOT_FOUND', { id }) };
}
