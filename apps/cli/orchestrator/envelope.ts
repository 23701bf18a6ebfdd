import type { OrchestratorRefusal } from '#libs/contracts';
import { CONTRACT_VERSION, type Gate } from '#libs/missions';

/** What a command answers, and the exit code that goes with it. */
export type Answer = {
  /** Without prefix, as `mission-state`; `unknown` where it was not understood. */
  command: string;
  missionSlug: string | undefined;
  outcome: { ok: true; data: Record<string, unknown> } | { ok: false; error: OrchestratorRefusal };
};

/**
 * The envelope: the keys of the seed and those that clients of the original need, in one object.
 * Source: orchestrator-api.md and reference §0.
 * @throws {CONTRACT_VIOLATION} the answer is none that the contract knows
 */
export function renderEnvelope(
  gate: Gate | undefined,
  { command, missionSlug, outcome }: Answer,
  stamp: { at: Date; correlationId: string },
): string {
  const error_code = outcome.ok ? null : outcome.error.code;
  const named = missionSlug === undefined ? {} : { mission_slug: missionSlug };
  const data = outcome.ok
    ? { ...named, ...outcome.data }
    : { ...named, ...outcome.error.data, message: outcome.error.message };
  gate?.answer('cli out', { error_code, data, namesMission: missionSlug !== undefined });
  return JSON.stringify({
    ok: outcome.ok,
    success: outcome.ok,
    command: `orchestrator-api.${command}`,
    contract_version: CONTRACT_VERSION,
    timestamp: stamp.at.toISOString(),
    correlation_id: stamp.correlationId,
    ...named,
    error_code,
    ...(!outcome.ok && { error: outcome.error.message }),
    data,
  });
}
