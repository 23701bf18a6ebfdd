import type { Result } from '#libs/missions';

export type MergeStrategy = 'merge' | 'squash' | 'rebase';
export const STRATEGIES: readonly MergeStrategy[] = ['merge', 'rebase', 'squash'];

export type Workspace = {
  /** Absolute. */
  workspace_path: string;
  lane_id?: string;
  lane_branch?: string;
  lane_base_ref?: string;
};

export type Merged = {
  target_branch: string;
  /** The commit that the target is at now. */
  commit: string;
  worktree_removed: boolean;
};

/** What the commands need of git, for one mission of one repository. */
export type GitPort = {
  /** LANE_ALLOCATION_FAILED where it cannot be made; with `create` false nothing is written. */
  resolveWorkspace(wpId: string, create: boolean): Promise<Result<Workspace>>;
  /** Commits these files (relative to the root) alone. SAFE_COMMIT_*, HISTORY_COMMIT_FAILED. */
  commitFiles(paths: readonly string[], message: string): Promise<Result<{ commit: string }>>;
  /** Has the lane a commit beyond its base? Undefined: it has no lane that could tell. */
  hasImplementationEvidence(wpId: string): Promise<boolean | undefined>;
  /** Path of the evidence that a change of workflows lacks; undefined: nothing is missing. */
  workflowEvidenceMissing(): Promise<string | undefined>;
  /** PREFLIGHT_FAILED leaves everything as it was. */
  merge(input: {
    target: string | undefined;
    strategy: MergeStrategy;
    push: boolean;
    /** Ids of work packages that are canceled: their lanes are left out. */
    canceled: readonly string[];
  }): Promise<Result<Merged>>;
};
