import { type AarFile, aarFile, isAppError, LIMITS } from '#libs/contracts';
import {
  commitAll,
  prepareWorktree,
  readBlob,
  readCommit,
  readFileInside,
  type Theater,
  type Worktree,
  writeFiles,
} from '#libs/worktrees';
import { AAR_PATH } from './aar.ts';

/** The files of one order, and the commit that they end in. */
export type Workspace = {
  /** The folder. */
  root: string;
  readFile: (path: string, maxBytes: number) => Promise<Uint8Array>;
  writeFiles: (files: readonly { path: string; bytes: Uint8Array }[]) => Promise<void>;
  /** Writes state.json, which git does not see. */
  writeState: (state: Record<string, unknown>) => Promise<void>;
  /** Commits everything, or only `paths`; answers the sha. */
  commit: (message: string, at: Date, paths?: readonly string[]) => Promise<string>;
  /** The report in the newest commit, where there is a valid one. */
  committedReport: () => Promise<{ aar: AarFile; commitSha: string } | undefined>;
};

/** Opens the files of an order. */
export type OpenWorkspace = (theater: Theater, worktree: Worktree) => Workspace;

const AUTHOR = { name: 'IronClaw', email: 'ironclaw@localhost' };
const STATE_PATH = 'state.json';

/** A workspace in a git worktree. */
export const openGitWorkspace: OpenWorkspace = (theater, worktree) => {
  const { worktreePath, branch } = worktree;
  return {
    root: worktreePath,
    readFile: (path, maxBytes) => readFileInside(worktreePath, path, { maxBytes }),
    writeFiles: (files) => writeFiles(worktreePath, files),
    writeState: (state) => {
      const text = `${JSON.stringify(state, null, 2)}\n`;
      const files = [{ path: STATE_PATH, text }];
      return prepareWorktree({ worktreePath, files, exclude: [STATE_PATH] });
    },
    commit: async (message, at, include) => {
      const timestampSec = Math.floor(at.getTime() / 1000);
      const input = { worktreePath, message, author: AUTHOR, timestampSec };
      return (await commitAll({ ...input, ...(include && { include }) })).sha;
    },
    committedReport: async () => {
      const { repoPath } = theater;
      const { sha } = await readCommit(repoPath, `refs/heads/${branch}`);
      const aar = await readReport(repoPath, sha);
      return aar && { aar, commitSha: sha };
    },
  };
};

async function readReport(repoPath: string, ref: string): Promise<AarFile | undefined> {
  try {
    const bytes = await readBlob({ repoPath, ref, path: AAR_PATH, maxBytes: LIMITS.bodyBytes });
    return aarFile.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (error) {
    // None, or one that is not of ours: then there is no report to go by.
    if (isAppError(error, 'ARTIFACT_NOT_FOUND', 'PAYLOAD_TOO_LARGE')) return undefined;
    if (error instanceof SyntaxError || (error as Error).name === 'ZodError') return undefined;
    throw error;
  }
}
