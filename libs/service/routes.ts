import type { Endpoint, Role } from '#libs/contracts';

/** `root`: the roles of this process. `gateway`: gateway at the root, every role under its name. */
export type Mount = 'root' | 'gateway';

export type MountedEndpoint<E> = {
  item: E;
  /** As `/co/runs/{run_id}/plan`. */
  path: string;
};

/**
 * Where endpoints are served: the root role's and outside contracts at the root, every role's under
 * `/<role>`. The root role is the gateway, or the only role there is.
 */
export function mountEndpoints<E extends { endpoint: Endpoint }>(
  items: readonly E[],
  mount: Mount,
): MountedEndpoint<E>[] {
  const root = rootRole(
    items.map((item) => item.endpoint.role),
    mount,
  );
  return items.flatMap((item) => {
    const { role, path, outside } = item.endpoint;
    const named = { item, path: `/${role}${path}` };
    return role === root || outside !== undefined ? [{ item, path }, named] : [named];
  });
}

/** The one path that documents name: at the root where there is one. */
export function documentedPath(endpoint: Endpoint, root: Role | undefined): string {
  const atRoot = endpoint.role === root || endpoint.outside !== undefined;
  return atRoot ? endpoint.path : `/${endpoint.role}${endpoint.path}`;
}

/** The role whose routes stand at the root, if any. */
export function rootRole(roles: readonly Role[], mount: Mount): Role | undefined {
  if (mount === 'gateway') return 'gateway';
  const [first, ...rest] = new Set(roles);
  return rest.length === 0 ? first : undefined;
}
