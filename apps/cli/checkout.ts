import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { AppError, invalid, isId, type NamespaceRef } from '#libs/contracts';
import { uuidOf } from '#libs/dossier';
import { buildId, nodeId } from '#libs/missionlog';
import { type ProjectIdentity, projectSlug, repoSlug } from '#libs/tracker';

/** A checkout of a repository with missions in it. */
export type Checkout = {
  /** Absolute. */
  root: string;
  identity: ProjectIdentity;
};

const FILE_BYTES_MAX = 1024 * 1024;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * The checkout that a folder lies in.
 * @throws {INVALID_REQUEST} no git repository holds the folder
 */
export async function findCheckout(folder: string): Promise<Checkout> {
  const start = resolve(folder);
  for (let root = start; ; root = dirname(root)) {
    const gitDir = gitDirOf(root);
    if (gitDir !== undefined) return { root, identity: await identityOf(root, gitDir) };
    if (dirname(root) === root) throw invalid('repo', `${start} lies in no git repository`);
  }
}

/** The git folder of this very checkout: of a linked worktree, its own. */
function gitDirOf(root: string): string | undefined {
  const dotGit = join(root, '.git');
  if (!existsSync(dotGit)) return undefined;
  if (statSync(dotGit).isDirectory()) return dotGit;
  const pointer = /^gitdir: (.+)$/m.exec(read(dotGit) ?? '')?.[1];
  return pointer === undefined ? undefined : resolve(root, pointer.trim());
}

async function identityOf(root: string, gitDir: string): Promise<ProjectIdentity> {
  const common = resolve(gitDir, (read(join(gitDir, 'commondir')) ?? '.').trim());
  const origin = originOf(read(join(common, 'config')) ?? '');
  const project = projectSection(read(join(root, '.kittify', 'config.yaml')) ?? '');
  const folder = basename(basename(common) === '.git' ? dirname(common) : root);
  // Clones of one repository are one project; without an origin, a repository is its own.
  const uuid = project.uuid ?? uuidOf(`project ${origin ?? common}`);
  if (!UUID.test(uuid)) throw invalid('project.uuid', `${uuid} in .kittify/config.yaml is no UUID`);
  return {
    uuid: uuid.toLowerCase(),
    slug: project.slug ?? projectSlug(origin, folder),
    node_id: project.node_id ?? nodeId(),
    repo_slug: project.repo_slug ?? repoSlug(origin, folder),
    // In the checkout's own git folder: neither worktrees nor clones share it.
    build_id: await buildId(root),
  };
}

function originOf(config: string): string | undefined {
  const section = /^\[remote "origin"\]([^[]*)/m.exec(config)?.[1] ?? '';
  return /^\s*url\s*=\s*(.+?)\s*$/m.exec(section)?.[1];
}

type Project = { uuid?: string; slug?: string; node_id?: string; repo_slug?: string };

/** The `project` block of .kittify/config.yaml: names and plain or quoted texts. */
export function projectSection(yaml: string): Project {
  const block = /^project:[ \t]*\r?\n((?:[ \t]+.*(?:\r?\n|$)|[ \t]*\r?\n)*)/m.exec(yaml)?.[1] ?? '';
  const project: Project = {};
  for (const name of ['uuid', 'slug', 'node_id', 'repo_slug'] as const) {
    const line = new RegExp(`^[ \\t]+${name}:[ \\t]*(.*?)[ \\t]*\\r?$`, 'm').exec(block)?.[1] ?? '';
    const value = /^(['"])(.*)\1/.exec(line)?.[2] ?? line.replace(/\s+#.*$/, '');
    if (value !== '' && value !== 'null' && value !== '~') project[name] = value;
  }
  return project;
}

/** A mission's folder and what its artifacts are filed under. */
export type Mission = {
  dir: string;
  /** Relative to the repository. */
  path: string;
  number: string;
  namespace: NamespaceRef;
};

/**
 * A mission of a checkout, by the name of its folder.
 * @throws {NAMESPACE_NOT_FOUND} there is none · {INVALID_REQUEST} its meta.json is no JSON object
 */
export function findMission({ root, identity }: Checkout, slug: string): Mission {
  const path = `kitty-specs/${slug}`;
  const dir = join(root, path);
  const meta = isId(slug) ? read(join(dir, 'meta.json')) : undefined;
  if (meta === undefined && !(isId(slug) && existsSync(dir))) {
    throw new AppError('NAMESPACE_NOT_FOUND', { mission: slug, project: identity.slug });
  }
  const facts = parseMeta(meta ?? '{}', `${path}/meta.json`);
  const text = (name: string, otherwise: string): string => {
    const value = facts[name];
    // Numbers of missions are three digits on the wire.
    if (typeof value === 'number') return String(value).padStart(3, '0');
    return typeof value === 'string' && value.trim() !== '' ? value : otherwise;
  };
  return {
    dir,
    path,
    number: text('mission_number', /^\d+/.exec(slug)?.[0] ?? '0'),
    namespace: {
      project_uuid: identity.uuid,
      mission_slug: slug,
      target_branch: text('target_branch', 'main'),
      mission_type: text('mission_type', 'software-dev'),
      manifest_version: text('manifest_version', '1'),
    },
  };
}

function parseMeta(text: string, name: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(name, `is not JSON: ${(error as Error).message}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw invalid(name, 'is not a JSON object');
}

/** Undefined where there is no such file. */
function read(file: string): string | undefined {
  try {
    if (statSync(file).size > FILE_BYTES_MAX) throw invalid(file, 'is too large to be what it is');
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined;
    throw error;
  }
}
