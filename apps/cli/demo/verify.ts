import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';

const GIT_BYTES_MAX = 64 * 1024 * 1024;
const GIT_MS_MAX = 20_000;

/** An artifact as the events tell of it; `sha256` where they tell that. */
export type Claimed = { path: string; commit_sha: string; sha256: string | undefined };

export type Verified = {
  /** The tip of the mainline. */
  headSha: string;
  /** `git show --stat` of it. */
  show: string;
  /** What is not as claimed; empty: all is. */
  wrong: string[];
};

/** Asks git itself whether the mainline holds the artifacts, byte for byte. */
export async function verifyCommit(
  repoPath: string,
  mainline: string,
  artifacts: readonly Claimed[],
): Promise<Verified> {
  const git = (...args: string[]) => runGit(repoPath, args);
  const headSha = (await git('rev-parse', `refs/heads/${mainline}`)).toString().trim();
  const wrong: string[] = [];
  for (const { path, commit_sha, sha256 } of artifacts) {
    try {
      // Fails where the commit is not part of the mainline's history.
      await git('merge-base', '--is-ancestor', commit_sha, headSha);
      const bytes = await git('cat-file', 'blob', `${headSha}:${path}`);
      const found = createHash('sha256').update(bytes).digest('hex');
      if (sha256 !== undefined && found !== sha256) wrong.push(`${path} has other content`);
    } catch (error) {
      wrong.push(`${path}: ${(error as Error).message}`);
    }
  }
  if (artifacts.length === 0) wrong.push('the run has no artifacts');
  const show = await git('show', '--stat', '--first-parent', '--format=commit %H%n%s', headSha);
  return { headSha, show: show.toString().trim(), wrong };
}

function runGit(repoPath: string, args: readonly string[]): Promise<Buffer> {
  const options = { maxBuffer: GIT_BYTES_MAX, timeout: GIT_MS_MAX, encoding: 'buffer' } as const;
  return new Promise((resolve, reject) => {
    execFile('git', ['-C', repoPath, ...args], options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = stderr.toString().trim().split('\n').at(-1) ?? '';
      reject(new Error(`git ${args[0]}: ${said || error.message}`, { cause: error }));
    });
  });
}
