/** Who binds (seed, tracker-bind.md): the `project_identity` of every bind request. */
export type ProjectIdentity = {
  /** UUID of the project. */
  uuid: string;
  slug: string;
  /** Machine and user; the same in all checkouts of one user. Opaque. */
  node_id: string;
  /** As owner/repo. */
  repo_slug: string;
  /** UUID of the checkout. */
  build_id: string;
};

/**
 * The slug of a project: the last part of its origin's address, else the folder's name.
 * @param origin URL or scp-like address of the remote `origin`; undefined: there is none
 */
export function projectSlug(origin: string | undefined, folder: string): string {
  const name = partsOf(origin).at(-1) ?? folder;
  return name.toLowerCase().replace(/[_\s]+/g, '-');
}

/** The repository as owner/repo; where the origin names no owner, the name alone. */
export function repoSlug(origin: string | undefined, folder: string): string {
  const parts = partsOf(origin);
  return parts.length === 0 ? folder : parts.slice(-2).join('/');
}

/** The parts of the path of `https://host/owner/repo.git`, `git@host:owner/repo` or a folder. */
function partsOf(origin: string | undefined): string[] {
  const address = (origin ?? '').trim().replace(/[?#].*$/, '');
  const path = address
    .replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '')
    // Two letters at least before the colon: one is a drive.
    .replace(/^[^/:]{2,}:/, '')
    .replaceAll('\\', '/');
  const parts = path.split('/').filter((part) => part !== '' && part !== '.' && part !== '..');
  const last = parts.pop()?.replace(/\.git$/i, '');
  return last === undefined || last === '' ? parts : [...parts, last];
}
