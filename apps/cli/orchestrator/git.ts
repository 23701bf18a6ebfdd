import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { layoutOf, refuse } from '#libs/missions';
import type { Plan, Stamp } from '#libs/workspaces';
import type { GitPort } from './git-port.ts';
import { type MissionFiles, readOptional, type Repository } from './repository.ts';
import type { Surroundings } from './session.ts';

const run = promisify(execFile);
const FALLBACK_AUTHOR = { name: 'IronClaw', email: 'ironclaw@localhost' };

/** Most commands have nothing to do with git, so it is loaded when one has. */
const load = () => import('#libs/workspaces');

/** The git side of a mission's commands, on the lanes of its lanes.json or one for each package. */
export function openGit(
  repository: Repository,
  mission: MissionFiles,
  { env, now }: Surroundings,
): GitPort {
  const { root, gitDir } = repository;
  const { slug, board } = mission;
  const head = headBranch(gitDir);
  const stamp = async (): Promise<Stamp> => ({
    author: await authorOf(root),
    timestampSec: Math.floor(now().getTime() / 1_000),
  });
  /** The plan, or why lanes.json gives none. */
  const planned = async (): Promise<{ plan: Plan } | { fault: string }> => {
    const { planOf } = await load();
    try {
      return { plan: planOf(slug, readOptional(join(root, layoutOf(slug).lanes)), board.wps) };
    } catch (error) {
      return { fault: (error as Error).message };
    }
  };
  const targetOf = (plan?: Plan): string =>
    board.targetBranch ?? plan?.targetBranch ?? head ?? 'main';

  return {
    resolveWorkspace: async (wpId, create) => {
      const found = await planned();
      if ('fault' in found) {
        return refuse('LANE_ALLOCATION_FAILED', { wp_id: wpId, reason: found.fault });
      }
      const { plan } = found;
      const { locateWorkspace, startWorkspace } = await load();
      if (!create) return locateWorkspace(repository, plan, wpId);
      const targetBranch = targetOf(plan);
      return startWorkspace({ ...(await stamp()), repository, plan, wpId, targetBranch });
    },
    commitFiles: async (paths, message) => {
      const { commitFiles } = await load();
      const destination = head ?? targetOf();
      const allowProtected = env.SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS === '1';
      const input = { repository, destination, paths, message, allowProtected };
      return commitFiles({ ...(await stamp()), ...input });
    },
    hasImplementationEvidence: async (wpId) => {
      const found = await planned();
      if ('fault' in found) return undefined;
      return (await load()).hasImplementationEvidence(repository, found.plan, wpId);
    },
    workflowEvidenceMissing: async () => {
      const { planOf, workflowEvidenceMissing } = await load();
      const found = await planned();
      const plan = 'plan' in found ? found.plan : planOf(slug, undefined, board.wps);
      return workflowEvidenceMissing(repository, plan, targetOf(plan));
    },
    merge: async ({ target, strategy, push, canceled }) => {
      const found = await planned();
      if ('fault' in found) {
        const target_branch = target ?? targetOf();
        return refuse('PREFLIGHT_FAILED', { target_branch, errors: [found.fault] });
      }
      const { merge, withoutWps } = await load();
      const plan = withoutWps(found.plan, canceled);
      const input = { repository, plan, target: target ?? targetOf(plan), strategy, push };
      return merge({ ...(await stamp()), ...input });
    },
  };
}

/** The branch that the main checkout is on; undefined: none. */
function headBranch(gitDir: string): string | undefined {
  return /^ref: refs\/heads\/(.+?)\s*$/.exec(readFileSync(join(gitDir, 'HEAD'), 'utf8'))?.[1];
}

/** Who commits, as git itself would say it. */
async function authorOf(root: string): Promise<Stamp['author']> {
  try {
    const { stdout } = await run('git', ['-C', root, 'var', 'GIT_AUTHOR_IDENT']);
    const [, name, email] = /^(.+?) <(.+?)>/.exec(stdout) ?? [];
    return name === undefined || email === undefined ? FALLBACK_AUTHOR : { name, email };
  } catch {
    // Nobody is configured, or there is no git on this machine.
    return FALLBACK_AUTHOR;
  }
}
