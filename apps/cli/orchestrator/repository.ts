import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import {
  accept,
  type Board,
  boardOf,
  layoutOf,
  parseMeta,
  parseSelector,
  refuse,
  type Result,
  taskFiles,
} from '#libs/missions';

/** A repository that missions live in. */
export type Repository = {
  /** Of the main checkout, absolute. */
  root: string;
  /** The git folder that all worktrees share; what is written there is never tracked. */
  gitDir: string;
};

/** A mission as its files tell it. */
export type MissionFiles = {
  slug: string;
  board: Board;
  /** Paths of task files relative to the root, by work package. */
  taskPaths: ReadonlyMap<string, string>;
  tasksMd: string | undefined;
  eventsText: string;
};

const FILE_BYTES_MAX = 64 * 1024 * 1024;
const TASK_BYTES_MAX = 4 * 1024 * 1024;

/**
 * The repository of a command: SPECIFY_REPO_ROOT where that has `.kittify/`, else the checkout that
 * `cwd` lies in; of a worktree its main checkout. Undefined: there is none.
 */
export function findRepository(
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
): Repository | undefined {
  const named = env.SPECIFY_REPO_ROOT;
  if (named !== undefined && named !== '' && existsSync(join(named, '.kittify'))) {
    const gitDir = commonDir(resolve(named));
    if (gitDir !== undefined) return { root: realpathSync(named), gitDir };
  }
  let nearest: Repository | undefined;
  for (let at = resolve(cwd); ; at = dirname(at)) {
    const gitDir = commonDir(at);
    if (gitDir !== undefined) {
      const root = basename(gitDir) === '.git' ? dirname(gitDir) : realpathSync(at);
      if (existsSync(join(root, '.kittify'))) return { root, gitDir };
      nearest ??= { root, gitDir };
    }
    if (dirname(at) === at) return nearest;
  }
}

/** The git folder shared by all worktrees; undefined: `root` is no checkout. */
function commonDir(root: string): string | undefined {
  const dotGit = join(root, '.git');
  const stats = statSync(dotGit, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (stats.isDirectory()) return realpathSync(dotGit);
  const pointer = /^gitdir: (.+?)\s*$/m.exec(readFileSync(dotGit, 'utf8'))?.[1];
  if (pointer === undefined) return undefined;
  const own = resolve(root, pointer);
  const shared = readOptional(join(own, 'commondir'));
  const common = resolve(own, (shared ?? '.').trim());
  return existsSync(common) ? realpathSync(common) : undefined;
}

/** Reads a mission's files. MISSION_NOT_FOUND: no such folder, or a selector that leads elsewhere. */
export function readMission(root: string, selector: string): Result<MissionFiles> {
  const parsed = parseSelector(selector);
  if (!parsed.ok) return parsed;
  const slug = parsed.value;
  const layout = layoutOf(slug);
  if (!isInside(root, slug)) return refuse('MISSION_NOT_FOUND', { mission: slug });
  const files = taskFiles(namesIn(join(root, layout.taskFolder)));
  const taskPaths = new Map([...files].map(([id, name]) => [id, `${layout.taskFolder}/${name}`]));
  const texts = new Map(
    [...taskPaths].map(([id, path]) => [id, readOptional(join(root, path), TASK_BYTES_MAX) ?? '']),
  );
  const meta = readOptional(join(root, layout.meta), TASK_BYTES_MAX);
  return accept({
    slug,
    board: boardOf(slug, meta === undefined ? undefined : parseMeta(meta), texts),
    taskPaths,
    tasksMd: readOptional(join(root, layout.tasks), TASK_BYTES_MAX),
    eventsText: readOptional(join(root, layout.events)) ?? '',
  });
}

/** Is there such a folder, and is it in kitty-specs/ also when links are followed? */
function isInside(root: string, slug: string): boolean {
  const folder = join(root, layoutOf(slug).root);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return false;
  return dirname(realpathSync(folder)) === realpathSync(join(root, 'kitty-specs'));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** The file's text; undefined: there is none. */
export function readOptional(path: string, limit = FILE_BYTES_MAX): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined || !stats.isFile()) return undefined;
  if (stats.size > limit) throw new Error(`${path} is larger than ${limit} bytes`);
  return readFileSync(path, 'utf8');
}
