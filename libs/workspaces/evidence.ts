import { join } from 'node:path';
import {
  branchRef,
  findRef,
  loadCommit,
  mergeBases,
  readText,
  diffTrees,
} from '../worktrees/internal.ts';
import type { Plan } from './plan.ts';
import type { Repository } from './values.ts';

/**
 * The path of the evidence that a mission still owes because it changed `.github/workflows/` since
 * it left the target: kitty-specs/<slug>/workflow-evidence.md with the address of an Actions run or
 * a line `run id <5 or more digits>`. Undefined: nothing is owed. Source: reference §1.7.
 */
export async function workflowEvidenceMissing(
  { root, gitDir }: Repository,
  plan: Plan,
  target: string,
): Promise<string | undefined> {
  const path = `kitty-specs/${plan.slug}/workflow-evidence.md`;
  const from =
    findRef(gitDir, branchRef(target)) ?? findRef(gitDir, `refs/remotes/origin/${target}`);
  if (from === undefined) return undefined;
  const branches = [plan.missionBranch, ...plan.lanes.map(({ branch }) => branch)];
  const refs = [...branches.map(branchRef), 'HEAD'];
  const shas = new Set(refs.map((ref) => findRef(gitDir, ref)).filter((sha) => sha !== undefined));
  for (const sha of shas) {
    if (await changesWorkflows(gitDir, from, sha)) {
      return isEvidence(readText(join(root, path)) ?? '') ? undefined : path;
    }
  }
  return undefined;
}

async function changesWorkflows(gitDir: string, from: string, sha: string): Promise<boolean> {
  const [base] = await mergeBases(gitDir, from, sha);
  if (base === undefined || base === sha) return false;
  const [before, after] = [await loadCommit(gitDir, base), await loadCommit(gitDir, sha)];
  const changes = await diffTrees(gitDir, before.tree, after.tree);
  return changes.some(({ path }) => path.startsWith('.github/workflows/'));
}

function isEvidence(text: string): boolean {
  return /\/actions\/runs\/\d+/.test(text) || /\brun[ _-]id\b[:\s#]*\d{5,}/i.test(text);
}
