import { join } from 'node:path';
import { accept, refuse } from '#libs/missions';
import type { GitPort } from './git-port.ts';
import type { MissionFiles, Repository } from './repository.ts';
import type { Surroundings } from './session.ts';

export function openGit(
  { root }: Repository,
  { slug }: MissionFiles,
  _around: Surroundings,
): GitPort {
  return {
    resolveWorkspace: async (wpId) =>
      accept({ workspace_path: join(root, '.worktrees', `${slug}-${wpId}`) }),
    commitFiles: async () => refuse('HISTORY_COMMIT_FAILED', { reason: 'provisional' }),
    hasImplementationEvidence: async () => undefined,
    workflowEvidenceMissing: async () => undefined,
    merge: async ({ target }) =>
      refuse('PREFLIGHT_FAILED', { target_branch: target ?? 'main', errors: ['provisional'] }),
  };
}
