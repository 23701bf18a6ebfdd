import { isAppError, type NamespaceRef } from '#libs/contracts';
import type { Gate } from '#libs/missions';

/** What is not shown of a list, and why. */
export type WithheldBody = {
  project_uuid: string;
  mission_slug: string;
  artifact_path: string | null;
  field: string;
  reason: string;
};

type Place = NamespaceRef & { artifact_path?: string };

/** What each body has, and what is told of it may leave out. */
const IMPLIED = { artifact_path: '-', content_hash: '-', hash_algorithm: 'sha256' };

/** Why a body may not be told of under the shape that is in force now; undefined: it may. */
export function faultOfBody(
  gate: Gate,
  told: object,
): Pick<WithheldBody, 'field' | 'reason'> | undefined {
  try {
    gate.body('http out', { ...IMPLIED, content_body: '-', ...told });
    return undefined;
  } catch (error) {
    if (!isAppError(error, 'CONTRACT_VIOLATION')) throw error;
    return { field: error.field ?? 'body', reason: error.message };
  }
}

/** What may be shown of a page; what was received once may be refused by now. */
export function checkedBodies<R extends Place>(
  gate: Gate,
  rows: readonly R[],
): { shown: R[]; withheld: WithheldBody[] } {
  const withheld: WithheldBody[] = [];
  const shown = rows.filter((row) => {
    const fault = faultOfBody(gate, row);
    if (fault === undefined) return true;
    const { project_uuid, mission_slug, artifact_path = null } = row;
    withheld.push({ project_uuid, mission_slug, artifact_path, ...fault });
    return false;
  });
  return { shown, withheld };
}
