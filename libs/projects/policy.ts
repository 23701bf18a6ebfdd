import { isWaiverLongEnough } from './artifact-state.ts';
import type { GateStatus, GovernanceMode } from './document.ts';
import { isInkAtLeast, isObject } from './text.ts';

/** Code points that are not white space in the notes of a solo decision. */
export const SOLO_NOTES_CHARS_MIN = 30;

/** What an operator may tighten. The schema's own minima hold whatever it says. */
export type GovernancePolicy = {
  /** Waivers in force in one phase. Default: no limit. */
  waiversPerPhaseMax?: number;
  /** False: no go while an earlier phase was decided no-go. Default true. */
  goAfterNoGo?: boolean;
};

export type PolicyAction =
  | { type: 'APPLY_WAIVER'; rationale: string; phaseWaiverCount?: number }
  | {
      type: 'DECIDE_GATE';
      decision: Exclude<GateStatus, 'pending'>;
      governanceMode: GovernanceMode;
      notes?: string;
      hasPriorNoGo?: boolean;
    };

export type PolicyVerdict = { allowed: true } | { allowed: false; field?: string; reason: string };

const ALLOWED: PolicyVerdict = { allowed: true };

/** Whether an action is within schema and policy; what is no known action is not. */
export function enforcePolicy(action: unknown, policy: GovernancePolicy = {}): PolicyVerdict {
  const known = isObject(action) ? (action as PolicyAction) : undefined;
  if (known?.type === 'APPLY_WAIVER') return waiverVerdict(known, policy);
  if (known?.type === 'DECIDE_GATE') return decisionVerdict(known, policy);
  return { allowed: false, reason: 'no known action' };
}

function waiverVerdict(
  { rationale, phaseWaiverCount = 0 }: PolicyAction & { type: 'APPLY_WAIVER' },
  { waiversPerPhaseMax = Infinity }: GovernancePolicy,
): PolicyVerdict {
  if (!isWaiverLongEnough(rationale)) {
    const reason = 'must have at least 20 characters that are not white space';
    return { allowed: false, field: 'rationale', reason };
  }
  if (phaseWaiverCount >= waiversPerPhaseMax) {
    return { allowed: false, reason: `at most ${waiversPerPhaseMax} waivers in one phase` };
  }
  return ALLOWED;
}

function decisionVerdict(
  action: PolicyAction & { type: 'DECIDE_GATE' },
  { goAfterNoGo = true }: GovernancePolicy,
): PolicyVerdict {
  const { decision, governanceMode, notes, hasPriorNoGo = false } = action;
  if (governanceMode === 'solo' && !isInkAtLeast(notes, SOLO_NOTES_CHARS_MIN)) {
    const reason = `must have at least ${SOLO_NOTES_CHARS_MIN} characters that are not white space`;
    return { allowed: false, field: 'notes', reason };
  }
  if (decision === 'go' && hasPriorNoGo && !goAfterNoGo) {
    return { allowed: false, reason: 'an earlier phase was decided no-go' };
  }
  return ALLOWED;
}
