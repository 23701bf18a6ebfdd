export { type Archive, archiveWorktree } from './archive.ts';
export { commitAll, statusOf, type WorktreeStatus } from './commit.ts';
export type { Author } from './commits.ts';
export { type ChangedFile, changedFiles, exportCommit } from './export.ts';
export {
  type FileInput,
  type ListedFile,
  listFiles,
  namesInCheckout,
  prepareWorktree,
  readCheckoutFile,
  readFileInside,
  writeFiles,
} from './files.ts';
export { integrate, type IntegrateInput, type Integration } from './integrate.ts';
export { WORKTREE_LIMITS } from './limits.ts';
export { inOrderTurn } from './lock.ts';
export { makeFolder } from './make_folder.ts';
export { isBranchName } from './names.ts';
export { type CommitInfo, isAncestor, listTree, logOf, readBlob, readCommit } from './read.ts';
export { listWorktrees, type WorktreeInfo } from './listing.ts';
export {
  listQuarantined,
  type QuarantinedWorktree,
  quarantineWorktree,
  readQuarantined,
} from './quarantine.ts';
export type { Worktree } from './records.ts';
export { removeWorktree } from './remove.ts';
export { hasBranch, type OpenedTheater, openTheater, type Theater } from './theater.ts';
export type { TreeFile } from './trees.ts';
export {
  assertWorktree,
  type CreatedWorktree,
  createWorktree,
  worktreePathOf,
} from './worktree.ts';
