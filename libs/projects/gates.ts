import { type ArtifactState, artifactStateOf } from './artifact-state.ts';
import { bindingOf, type TemplateRegistry } from './templates.ts';
import { idText, isObject, isPhaseNumber, type Json, listOf } from './text.ts';

export type PhaseGate = 'locked' | 'ready' | 'decided';
export type GovernanceDepth = 'minimum-compliance' | 'standard' | 'extended';

/** What is computed of a phase; never stored, never read from a document. */
export type PhaseState = {
  phase_id: string;
  /** Every artifact that blocks the gate is complete or waived; so is a gate without any. */
  ready: boolean;
  gate: PhaseGate;
  /** Ids of the artifacts that keep the gate locked. */
  blocked_by: string[];
  depth: GovernanceDepth;
  artifacts: Record<string, ArtifactState>;
};

export type ComputedState = {
  phases: PhaseState[];
  /** Artifacts by status. */
  counts: Record<ArtifactState['status'], number>;
};

/** The number by which templates are looked up: the phase's, else its id if that is a number. */
export function phaseNumberOf(phase: Json): number | undefined {
  return [phase.phase_number, phase.id].find(isPhaseNumber);
}

/** Everything that is computed of one phase. A phase that is missing is ready, with nothing in it. */
export function phaseStateOf(phase: unknown, registry: TemplateRegistry): PhaseState {
  const source: Json = isObject(phase) ? phase : {};
  const phaseNumber = phaseNumberOf(source);
  // Not `artifacts[id] =`: an id may be any text.
  const states = new Map<string, ArtifactState>();
  const blocked_by: string[] = [];
  for (const artifact of listOf(source.artifacts)) {
    const state = artifactStateOf(artifact, bindingOf(artifact, phaseNumber, registry));
    const { id, isGateBlocking }: Json = isObject(artifact) ? artifact : {};
    const key = idText(id) ?? '';
    states.set(key, state);
    if (Boolean(isGateBlocking) && !state.complete) blocked_by.push(key);
  }
  const ready = blocked_by.length === 0;
  const status = isObject(source.goNoGoDecision) ? source.goNoGoDecision.status : undefined;
  const decided = status === 'go' || status === 'no-go';
  return {
    phase_id: idText(source.id) ?? '',
    ready,
    gate: decided ? 'decided' : ready ? 'ready' : 'locked',
    blocked_by,
    depth: governanceDepth(source),
    artifacts: Object.fromEntries(states),
  };
}

/** Everything that is computed of a project. */
export function computeState(project: unknown, registry: TemplateRegistry): ComputedState {
  const source: Json = isObject(project) ? project : {};
  const phases = listOf(source.phases).map((phase) => phaseStateOf(phase, registry));
  const counts = { 'not-started': 0, 'in-progress': 0, complete: 0, waived: 0 };
  for (const { artifacts } of phases) {
    for (const { status } of Object.values(artifacts)) counts[status] += 1;
  }
  return { phases, counts };
}

/** How much of what could be governed is: an indicator, nothing is decided by it. */
export function governanceDepth(phase: unknown): GovernanceDepth {
  const artifacts = listOf(isObject(phase) ? phase.artifacts : undefined).filter(isObject);
  const waived = artifacts.filter(({ waiver }) => isObject(waiver) && waiver.waived === true);
  const core = artifacts.filter(({ category }) => category === 'core');
  const active = artifacts.length - waived.length;
  if (active <= Math.max(core.length, 1)) return 'minimum-compliance';
  return waived.length === 0 ? 'extended' : 'standard';
}
