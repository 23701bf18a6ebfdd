/** Limits of this room. Bytes are of file contents. */
export const WORKTREE_LIMITS = {
  /** Characters of a repo_path. */
  pathChars: 4_096,
  /** UTF-8 bytes of a branch name. */
  branchBytes: 160,
  /** Files that one worktree may hold before listing, status or archive refuse. */
  files: 100_000,
  /** Depth of folders below a worktree. */
  folderDepth: 64,
  /** Bytes of one file that status or commit has to read. */
  fileBytes: 256 * 1024 ** 2,
  /** Bytes of all files in one archive, before compression. */
  archiveBytes: 1024 ** 3,
  /** Largest text that is merged line by line; bigger or binary files conflict instead. */
  mergeTextBytes: 1024 * 1024,
  /** Edits of a line diff beyond which two texts count as conflicting. */
  mergeTextEdits: 2_000,
  /** Commits visited when looking for a common ancestor. */
  historyCommits: 500_000,
  /** Commits answered by one log call. */
  logCommits: 1_000,
  /** Files named in an error. */
  errorFiles: 50,
  /** Files handled between two turns of the event loop. */
  filesPerTurn: 32,
  /** Wait for another writer of the same order or the same mainline. */
  lockWaitMs: 30_000,
  /** Wait for a `.lock` file of real git. */
  gitLockWaitMs: 5_000,
} as const;
