import { API, isAppError } from '#libs/contracts';
import { createGovernance, type RoleContext } from '#libs/runtime';
import { type Candidate, failed, type GateVerdict, passed } from './verdict.ts';

export type GovernanceGate = (candidate: Candidate) => Promise<GateVerdict>;

/**
 * Lets an order through if the gate of its phase is decided go. It asks the projects role each time:
 * a decision may have been reopened. A role that is away is no verdict: that is thrown, and waited for.
 */
export function createGovernanceGate({
  broker,
  client,
  config,
}: Pick<RoleContext, 'broker' | 'client' | 'config'>): GovernanceGate {
  const governanceOf = createGovernance(broker, config.garrisonId);
  return async ({ theater, orderId, runId }) => {
    const place = { theater_id: theater.theaterId, run_id: runId, order_id: orderId };
    const governance = await governanceOf(place);
    if (governance === undefined) return failed('neither the order nor its run names a project');
    const { project_id, phase_id } = governance;
    try {
      const { decision } = await client.call(API.projects.gate, { project_id, phase_id });
      const what = `phase ${phase_id} of project ${project_id}`;
      if (decision.status === 'go') return passed(`${what} is decided go`);
      const details = { project_id, phase_id, decision: decision.status };
      return failed(`${what} is not decided go but ${decision.status}`, details);
    } catch (error) {
      if (!isAppError(error, 'PROJECT_NOT_FOUND', 'PROJECT_PART_NOT_FOUND')) throw error;
      return failed(error.message, { project_id, phase_id });
    }
  };
}
