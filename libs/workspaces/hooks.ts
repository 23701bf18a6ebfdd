import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, rm, writeFile } from 'node:fs/promises';
import fs from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import git from 'isomorphic-git';
import {
  hashFiles,
  formatIndex,
  type IndexEntry,
  storeHashed,
  stateDir,
} from '../worktrees/internal.ts';
import { reasonOf, type Repository } from './values.ts';

const HOOK_TIMEOUT_MS = 120_000;
const OUTPUT_CHARS_MAX = 4_000;

export type Ran = { ok: boolean; output: string };

/**
 * Runs a hook of the repository as git would, with an index of its own that holds `entries`: the
 * user's index is not shown to it. What a hook adds to that index is not taken over.
 */
export async function runHook(
  { root, gitDir }: Repository,
  name: 'pre-commit' | 'pre-merge-commit' | 'commit-msg',
  entries: readonly IndexEntry[],
  tempName: string,
  message?: string,
): Promise<Ran> {
  const configured: unknown = await git.getConfig({ fs, gitdir: gitDir, path: 'core.hooksPath' });
  const folder = typeof configured === 'string' ? resolveFrom(root, configured) : undefined;
  const hook = join(folder ?? join(gitDir, 'hooks'), name);
  if (!(await isExecutable(hook))) return { ok: true, output: '' };
  const indexPath = join(stateDir(gitDir), `hook-${tempName}.index`);
  const messagePath = join(stateDir(gitDir), `hook-${tempName}.message`);
  try {
    // The objects must be there for a hook that looks at the staged tree.
    await storeHashed(gitDir, hashFiles(entries), undefined);
    await writeFile(indexPath, formatIndex(entries));
    if (message !== undefined) await writeFile(messagePath, message);
    const env = { ...withoutGit(process.env), GIT_DIR: gitDir, GIT_INDEX_FILE: indexPath };
    const args = message === undefined ? [] : [messagePath];
    return await run(hook, args, root, { ...env, GIT_WORK_TREE: root }, HOOK_TIMEOUT_MS);
  } finally {
    for (const path of [indexPath, `${indexPath}.lock`, messagePath])
      await rm(path, { force: true });
  }
}

/** Runs real git, without a terminal to ask. */
export function runGit(root: string, args: readonly string[]): Promise<Ran> {
  const env = { ...withoutGit(process.env), GIT_TERMINAL_PROMPT: '0' };
  return run('git', ['-C', root, ...args], root, env, HOOK_TIMEOUT_MS);
}

type Env = Record<string, string | undefined>;

// A surrounding git (an alias, a hook) must not lead ours elsewhere.
function withoutGit(env: Env): Env {
  const dropped = /^GIT_(DIR|WORK_TREE|INDEX_FILE|PREFIX|OBJECT_DIRECTORY|COMMON_DIR)$/;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !dropped.test(name)));
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Env,
  timeoutMs: number,
): Promise<Ran> {
  return new Promise((done) => {
    // Not our stdout: that carries the one JSON answer of a command.
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let output = '';
    const take = (bytes: Buffer) => {
      output = (output + bytes.toString()).slice(-OUTPUT_CHARS_MAX);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('error', (error) => done({ ok: false, output: reasonOf(error) }));
    child.once('close', (code, signal) => {
      const end = signal === null ? `exit ${code}` : `killed by ${signal}`;
      done({ ok: code === 0, output: output.trim() || end });
    });
  });
}

function resolveFrom(root: string, path: string): string {
  return isAbsolute(path) ? path : resolve(root, path);
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false; // none, or one that git would not run either
  }
}
