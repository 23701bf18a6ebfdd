import { randomUUID } from 'node:crypto';
import type { System } from './harness.ts';
import { type Answer, type Data, ok, type Way } from './wire.ts';

/** A rationale that is long enough for a waiver. */
export const REASON = 'x'.repeat(20);
export const AT = '2026-01-02T03:04:05.006Z';

/** The documents of these tests: one phase with one artifact that blocks its gate. */
export function harbourProject(change: Data = {}): Data {
  return {
    id: randomUUID(),
    name: 'Harbour',
    description: '',
    created: AT,
    lastModified: AT,
    lastSavedFrom: 'device-1',
    schema_version: '1',
    plan: { id: 'harbour-plan' },
    plan_id: 'harbour-plan',
    governance_mode: 'team',
    project_owner: 'owner:device-1',
    template_set_profile: 'standard',
    meta: { schema_version: '1', rule_engine_version: '1.0.0', normalized_at: AT },
    audit_log: [],
    openclaw: { linkedAgentIds: [], lastAgentHeartbeat: null, advisoryDrafts: {} },
    phases: [
      {
        id: 1,
        name: 'Moor',
        phase_number: 1,
        goNoGoDecision: {
          status: 'pending',
          decidedAt: null,
          notes: '',
          attestation_type: 'team_decision',
        },
        artifacts: [
          {
            id: 'art-a',
            name: 'Berth plan',
            category: 'core',
            isGateBlocking: true,
            assigned_to: 'owner:device-1',
            phase_id: '1',
            lastModified: AT,
            template_id: 'berth',
            template_version: '1.0',
            template_hash: null,
            field_values: {},
            rationale: '',
            notes: '',
            waiver: null,
            comments: [],
          },
        ],
      },
    ],
    ...change,
  };
}

/** Calls on one way, by the name of the endpoint. */
export function callsOn(system: System, way: Way) {
  return (name: string, input: Data = {}, headers: Record<string, string> = {}): Promise<Answer> =>
    system.call(way, `projects.${name}`, input, headers);
}

/** Imports a project of one phase, so that its gate can be waived open. */
export async function importHarbour(
  system: System,
  change: Data = {},
): Promise<{ id: string; revision: number }> {
  const document = harbourProject(change);
  const data = ok(await system.call('http', 'projects.import', { document }), 201);
  return { id: data.project_id as string, revision: data.revision as number };
}
