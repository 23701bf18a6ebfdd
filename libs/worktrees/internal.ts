/** For libs/workspaces, which makes worktrees and merges of its own kind on the same ground. */
export {
  type Commit,
  isAncestorSha,
  loadCommit,
  mergeBases,
  requireCommitInput,
  writeCommit,
} from './commits.ts';
export { formatIndex, type IndexEntry, indexEntry, NO_STAMP, readIndex } from './index_file.ts';
export { WORKTREE_LIMITS } from './limits.ts';
export { type Hold, MAINLINE_LOCK, orderLock, stateDir, withLock } from './lock.ts';
export { adopt, dirtyFiles, finishPromotion, promote } from './mainline.ts';
export { mergeTrees } from './merge.ts';
export { isBranchName } from './names.ts';
export { EMPTY_TREE, writeObject } from './objects.ts';
export { branchRef, deleteRef, findRef, headBranch, moveRef, readText } from './refs.ts';
export { readState, scanCheckout } from './scan.ts';
export { checkFormat, type Theater } from './theater.ts';
export { diffTrees, hashFiles, listTreeFiles, storeHashed } from './trees.ts';
export { buildLinked, removalMark } from './worktree.ts';
