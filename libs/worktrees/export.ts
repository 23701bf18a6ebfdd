import { lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { invalid } from '#libs/contracts';
import { makeFile, writeTreeFiles } from './checkout.ts';
import { loadCommit, mergeBases } from './commits.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { readCommit } from './read.ts';
import { diffTrees, listTreeFiles, Mode } from './trees.ts';

/** How one path of a branch differs from where the branch began. */
export type ChangedFile = {
  path: string;
  /** What is there now: a `link` is a symbolic link or a submodule. */
  now: 'file' | 'link' | 'nothing';
};

/**
 * What `head` brings to `base`: the paths in which it differs from their common ancestor, sorted.
 * @throws {NOT_FOUND} for an unknown ref.
 */
export async function changedFiles(input: {
  repoPath: string;
  base: string;
  head: string;
}): Promise<ChangedFile[]> {
  const gitDir = join(input.repoPath, '.git');
  const base = await readCommit(input.repoPath, input.base);
  const head = await readCommit(input.repoPath, input.head);
  const [ancestor] = await mergeBases(gitDir, base.sha, head.sha);
  const before = ancestor === undefined ? undefined : (await loadCommit(gitDir, ancestor)).tree;
  const changes = await diffTrees(gitDir, before, (await loadCommit(gitDir, head.sha)).tree);
  return changes
    .map(({ path, after }): ChangedFile => ({ path, now: kindOf(after?.mode) }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

function kindOf(mode: number | undefined): ChangedFile['now'] {
  if (mode === undefined) return 'nothing';
  return mode === Mode.file || mode === Mode.executable ? 'file' : 'link';
}

/**
 * Writes all files of a commit into an empty folder, without any tie to the repository.
 * @throws {NOT_FOUND} for an unknown ref; {INVALID_REQUEST} if the folder is not empty.
 */
export async function exportCommit(input: {
  repoPath: string;
  ref: string;
  dir: string;
}): Promise<void> {
  const { repoPath, ref, dir } = input;
  const gitDir = join(repoPath, '.git');
  const { sha } = await readCommit(repoPath, ref);
  const { tree } = await loadCommit(gitDir, sha);
  mkdirSync(dir, { recursive: true });
  if (lstatSync(dir).isSymbolicLink() || readdirSync(dir).length > 0) {
    throw invalid('dir', 'must be an empty folder');
  }
  const files = await listTreeFiles(gitDir, tree, WORKTREE_LIMITS.files);
  const links = files.filter(({ mode }) => mode === Mode.symlink);
  // Links last: in a tree that was made to harm, a folder of the same name would lead out.
  const inOrder = [...files.filter(({ mode }) => mode !== Mode.symlink), ...links];
  await writeTreeFiles(gitDir, dir, inOrder, ({ mode }, full, bytes) =>
    makeFile(full, mode, bytes),
  );
}
