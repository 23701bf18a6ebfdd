import { randomUUID } from 'node:crypto';

const AT = '2026-01-02T03:04:05.006Z';
/** About what one artifact comes to as JSON. */
const ARTIFACT_BYTES = 870;

/** A canonical project of about so many bytes: ten phases, artifacts with texts, values, comments. */
export function projectOf(bytes: number, id: string = randomUUID()): Record<string, unknown> {
  const artifacts = Math.max(1, Math.round(bytes / ARTIFACT_BYTES));
  const phases = Math.min(10, artifacts);
  return {
    id,
    name: 'Harbour',
    description: '',
    created: AT,
    lastModified: AT,
    lastSavedFrom: 'bench',
    schema_version: '1',
    plan: { id: 'bench-plan' },
    plan_id: 'bench-plan',
    governance_mode: 'team',
    project_owner: 'owner:bench',
    template_set_profile: 'standard',
    meta: { schema_version: '1', rule_engine_version: '1.0.0', normalized_at: AT },
    audit_log: [],
    openclaw: { linkedAgentIds: [], lastAgentHeartbeat: null, advisoryDrafts: {} },
    phases: Array.from({ length: phases }, (_, index) => ({
      id: index + 1,
      name: `Phase ${index + 1}`,
      phase_number: index + 1,
      goNoGoDecision: {
        status: 'pending',
        decidedAt: null,
        notes: '',
        attestation_type: 'team_decision',
      },
      artifacts: Array.from({ length: Math.ceil(artifacts / phases) }, (_unused, at) =>
        artifactOf(index + 1, at),
      ),
    })),
  };
}

function artifactOf(phase: number, index: number): Record<string, unknown> {
  return {
    id: `artifact-${phase}-${index}`,
    name: `Artifact ${index}`,
    category: 'core',
    isGateBlocking: true,
    assigned_to: 'owner:bench',
    phase_id: String(phase),
    lastModified: AT,
    template_id: 'bench',
    template_version: '1.0',
    template_hash: null,
    field_values: { summary: 'What was found at the berth. '.repeat(6), checked: true, count: 12 },
    rationale: 'The crane reaches every berth from one to four. '.repeat(3),
    notes: '',
    waiver: null,
    comments: [
      {
        id: `comment-${phase}-${index}`,
        comment_type: 'advisory',
        content: 'Is the tide taken into account?',
        status: 'open',
        created_at: AT,
        created_by: 'owner:bench',
        resolved_at: null,
        resolved_by: null,
      },
    ],
  };
}
