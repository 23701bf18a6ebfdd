import { invalid } from '#libs/contracts';
import { hashOf } from './canonical.ts';
import {
  type Author,
  type DecisionWarning,
  draftOn,
  noPart,
  nothing,
  type ProjectDecision,
  refuse,
  refused,
} from './decision.ts';
import { policyRefusal, textFault } from './decide-artifact.ts';
import { ATTESTATION, type GateStatus, type Phase } from './document.ts';
import type { Engine } from './engine.ts';
import { type PhaseState, phaseStateOf } from './gates.ts';
import { enforcePolicy, type GovernancePolicy } from './policy.ts';
import { findPhase, type ProjectState } from './state.ts';
import { idText } from './text.ts';

export type DecideGate = Author & {
  phaseId: string | number;
  decision: Exclude<GateStatus, 'pending'>;
  /** In solo mode at least 30 characters that are not white space. */
  notes: string;
};

/**
 * Decides the gate of a phase. Its gate must be ready; a decided gate must be reopened before it is
 * decided otherwise. A no-go of an earlier phase is a warning.
 */
export function decideGate(
  state: ProjectState,
  command: DecideGate,
  engine: Engine,
  policy: GovernancePolicy = {},
): ProjectDecision {
  const { phaseId, decision, notes } = command;
  const { document } = state;
  const phase = findPhase(document, phaseId)?.phase;
  if (phase === undefined) return noPart(document.id, 'phase', phaseId);
  if (decision !== 'go' && decision !== 'no-go') {
    return refused(invalid('decision', 'must be go or no-go'));
  }
  const { status: stands, notes: stored } = phase.goNoGoDecision;
  if (stands === decision && stored === notes) return nothing(state);
  if (stands !== 'pending') {
    return refuse('ILLEGAL_TRANSITION', { what: 'Deciding the gate', status: `it is ${stands}` });
  }
  const fault = textFault({ notes });
  if (fault !== undefined) return fault;
  const earlier = priorNoGo(document.phases, phase);
  const verdict = enforcePolicy(
    {
      type: 'DECIDE_GATE',
      decision,
      governanceMode: document.governance_mode,
      notes,
      hasPriorNoGo: earlier !== undefined,
    },
    policy,
  );
  if (!verdict.allowed) return policyRefusal(verdict);
  const computed = phaseStateOf(phase, engine.registry);
  if (!computed.ready) return locked(computed);
  const payload = {
    phase_id: computed.phase_id,
    decision,
    notes,
    attestation_type: ATTESTATION[document.governance_mode],
    basis: basisOf(phase, computed),
  };
  return draftOn(state, command)
    .link('GATE_DECIDED', payload)
    .done(...warningsOf(earlier));
}

/** Opens a decided gate again; a pending one is open already. */
export function reopenGate(
  state: ProjectState,
  command: Author & { phaseId: string | number; reason: string },
): ProjectDecision {
  const { phaseId, reason } = command;
  const phase = findPhase(state.document, phaseId)?.phase;
  if (phase === undefined) return noPart(state.document.id, 'phase', phaseId);
  const fault = textFault({ reason });
  if (fault !== undefined) return fault;
  const { status: was } = phase.goNoGoDecision;
  if (was === 'pending') return nothing(state);
  return draftOn(state, command)
    .link('GATE_REOPENED', { phase_id: idText(phase.id) ?? '', was, reason })
    .done();
}

/** Ids that a message repeats. */
const NAMED = 5;

function locked({ phase_id, blocked_by }: PhaseState): ProjectDecision {
  const named = blocked_by.slice(0, NAMED).join(', ');
  const artifacts =
    blocked_by.length > NAMED ? `${named} and ${blocked_by.length - NAMED} more` : named;
  return refuse('GATE_LOCKED', { phase: phase_id, artifacts }, { details: { blocked_by } });
}

/** What the decision was made on, so that it can be proved later. */
function basisOf(phase: Phase, { artifacts }: PhaseState) {
  return phase.artifacts
    .filter(({ isGateBlocking }) => isGateBlocking)
    .map((artifact) => ({
      artifact_id: artifact.id,
      status: artifacts[idText(artifact.id) ?? '']?.status ?? 'not-started',
      sha256: hashOf(artifact),
    }));
}

function priorNoGo(phases: readonly Phase[], { phase_number }: Phase): Phase | undefined {
  return phases.find(
    (one) => one.phase_number < phase_number && one.goNoGoDecision.status === 'no-go',
  );
}

function warningsOf(earlier: Phase | undefined): DecisionWarning[] {
  if (earlier === undefined) return [];
  const message = `phase ${earlier.phase_number} (${earlier.name}) was decided no-go`;
  return [{ code: 'PRIOR_NO_GO', message }];
}
