import fc from 'fast-check';
import type { ProjectEvent, StoredProjectEvent } from '#libs/contracts';
import {
  acceptDraft,
  addComment,
  applyWaiver,
  type Author,
  createEngine,
  createProject,
  decideGate,
  dismissDraft,
  type Documents,
  evolveProject,
  heartbeat,
  type NewPhase,
  type ProjectDecision,
  type ProjectDocument,
  type ProjectState,
  proposeDraft,
  removeWaiver,
  reopenComment,
  reopenGate,
  resolveComment,
  type Template,
  updateArtifact,
  updateProject,
} from '../mod.ts';

export const NOW = '2026-03-01T12:00:00.000Z';

/** A template of a plan that no profile knows. */
const SURVEY: Template = {
  template_id: 'harbour-survey',
  template_version: '3',
  name: 'Harbour Survey',
  phase_number: 1,
  fields: [
    { fieldId: 'depth', type: 'short_text', required: true },
    { fieldId: 'notes', type: 'long_text', required: false },
  ],
};
export const engine = createEngine(undefined, [SURVEY]);

/** The time `seconds` after NOW. */
export const later = (seconds: number): string =>
  new Date(Date.parse(NOW) + seconds * 1_000).toISOString();
export const by = (actorId: string, seconds = 0): Author => ({ actorId, now: later(seconds) });

/** A canonical project of the schema: one phase, one blocking artifact. Made anew at each call. */
export function canonicalProject() {
  return {
    id: 'p-1',
    name: 'Lighthouse Refit',
    description: '',
    created: '2025-11-03T08:15:30.250Z',
    lastModified: '2025-12-24T18:00:00.000Z',
    lastSavedFrom: 'dev-7',
    schema_version: '1',
    plan: { id: 'harbour-plan' },
    plan_id: 'harbour-plan',
    governance_mode: 'team',
    project_owner: 'owner:dev-7',
    template_set_profile: 'standard',
    meta: {
      schema_version: '1',
      rule_engine_version: '1.0.0',
      normalized_at: '2025-12-24T18:00:00.000Z',
    },
    audit_log: [] as unknown[],
    openclaw: { linkedAgentIds: [], lastAgentHeartbeat: null, advisoryDrafts: {} },
    phases: [canonicalPhase(1, canonicalArtifact('art-a', 1))],
  };
}

export function canonicalPhase(number: number, ...artifacts: object[]) {
  return {
    id: number as number | string,
    name: `Phase ${number}`,
    phase_number: number as unknown,
    goNoGoDecision: {
      status: 'pending',
      decidedAt: null as string | null,
      notes: '',
      attestation_type: 'team_decision',
    },
    artifacts: artifacts as unknown[],
  };
}

export function canonicalArtifact(id: string, phase: number, more: object = {}) {
  return {
    id,
    name: 'Harbour Survey Notes',
    category: 'core',
    isGateBlocking: true,
    assigned_to: 'owner:dev-7',
    phase_id: String(phase),
    lastModified: '2025-12-24T18:00:00.000Z',
    template_id: 'harbour-survey',
    template_version: '3',
    template_hash: null,
    field_values: {},
    rationale: '',
    notes: '',
    waiver: null,
    comments: [],
    ...more,
  };
}

/** A store of one project in memory: what the log and the object store do at the edge. */
export type Book = {
  readonly events: StoredProjectEvent[];
  readonly documents: Documents;
  state: ProjectState | undefined;
  /** Appends what a decision leads to; throws where it was refused. */
  apply(decision: ProjectDecision): ProjectEvent[];
  current(): ProjectState;
  document(): ProjectDocument;
};

export function createBook(): Book {
  const texts = new Map<string, string>();
  const events: StoredProjectEvent[] = [];
  const documents: Documents = ({ sha256 }) => JSON.parse(texts.get(sha256) ?? 'null');
  const book: Book = {
    events,
    documents,
    state: undefined,
    apply: (decision) => {
      if (!decision.ok) throw decision.error;
      for (const { ref, text } of decision.documents) texts.set(ref.sha256, text);
      for (const event of decision.events) {
        // Through JSON, as the wire does it.
        const stored = { ...structuredClone(event), seq: events.length + 1 } as StoredProjectEvent;
        events.push(JSON.parse(JSON.stringify(stored)) as StoredProjectEvent);
        book.state = evolveProject(book.state, stored, documents);
      }
      return decision.events;
    },
    current: () => {
      if (book.state === undefined) throw new Error('no project yet');
      return book.state;
    },
    document: () => book.current().document,
  };
  return book;
}

/** Book of a new project: of the harbour plan with one blocking artifact a phase, or of CPMAI. */
export function newBook(
  given: Partial<Parameters<typeof createProject>[1]> & { blocking?: boolean } = {},
): Book {
  const book = createBook();
  const { blocking = true, ...command } = given;
  const template = { id: 'harbour-survey', version: '3' };
  const phase = (name: string): NewPhase => ({
    name,
    artifacts: [
      { name: `${name} survey`, category: 'core', isGateBlocking: blocking, template },
      { name: `${name} notes`, category: 'supplemental', isGateBlocking: false },
    ],
  });
  const fields = {
    projectId: 'p-1',
    garrisonId: 'g',
    name: 'Harbour',
    governanceMode: 'team' as const,
    planId: 'harbour-plan',
    deviceId: 'dev-7',
    phases: [phase('Scout'), phase('Build')],
  };
  book.apply(createProject(undefined, { ...by('kim'), ...fields, ...command }, engine));
  return book;
}

/** Id of an artifact of the book's project. */
export function artifactId(book: Book, phase = 0, index = 0): string {
  return book.document().phases[phase]?.artifacts[index]?.id ?? 'none';
}

/** A command by numbers: which one, on which artifact and phase, with what. */
export type Step = { kind: number; at: number; choice: number; text: string };

/** Long enough for waivers and solo notes. */
const LONG = 'The port authority signed this off already.';

export const arbitraryStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.nat(12),
  at: fc.nat(1),
  choice: fc.nat(2),
  text: fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), {
    weight: 2,
    arbitrary: fc.constantFrom(LONG, `${LONG} For good.`),
  }),
});

/** What a step does to a project: any command, legal or not. */
export function decideStep(state: ProjectState, step: Step, seconds: number): ProjectDecision {
  const { at, choice, text } = step;
  const author = by(['kim', 'lee', 'mo'][choice] ?? 'kim', seconds);
  const { phases } = state.document;
  const phase = phases[at % phases.length];
  const artifact = phase?.artifacts[choice % (phase.artifacts.length || 1)];
  const target = { ...author, artifactId: artifact?.id ?? 'none' };
  const phaseId = phase?.id ?? 'none';
  const draft = { artifactId: target.artifactId, draftId: `d${choice}` };
  const content = { notes: text, field_values: { depth: text } };
  const comment = { ...target, commentId: artifact?.comments[0]?.id ?? `c${choice}` };
  const decisions: (() => ProjectDecision)[] = [
    () => updateArtifact(state, { ...target, fieldValues: { depth: text || null } }, engine),
    () => updateArtifact(state, { ...target, rationale: text, notes: text }, engine),
    () => applyWaiver(state, { ...target, rationale: text }),
    () => removeWaiver(state, target),
    () =>
      addComment(state, {
        ...target,
        commentId: `c${at}${choice}`,
        commentType: 'advisory',
        content: text,
      }),
    () => resolveComment(state, comment),
    () => reopenComment(state, comment),
    () =>
      decideGate(
        state,
        { ...author, phaseId, decision: choice === 0 ? 'no-go' : 'go', notes: text },
        engine,
      ),
    () => reopenGate(state, { ...author, phaseId, reason: text }),
    () => heartbeat(state, { ...author, agentId: `agent-${choice}` }),
    () => proposeDraft(state, { ...author, ...draft, agentId: 'agent-1', content }),
    () =>
      choice === 0
        ? dismissDraft(state, { ...author, ...draft })
        : acceptDraft(state, { ...author, ...draft }, engine),
    () => updateProject(state, { ...author, description: text }),
  ];
  const decide = decisions[step.kind % decisions.length];
  if (decide === undefined) throw new Error('no such step');
  return decide();
}
