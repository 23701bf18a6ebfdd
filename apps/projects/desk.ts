import { invalid } from '#libs/contracts';
import {
  type Author,
  computeState,
  type Engine,
  type GovernancePolicy,
  historyHead,
  type ProjectState,
} from '#libs/projects';
import type { Projection } from '#libs/projections';
import type { RoleContext } from '#libs/runtime';
import { type Ctx, type Reply, reply } from '#libs/service';
import type { KeyFile } from './key-file.ts';
import type { Commanded, ProjectStore } from './store.ts';

/** What the handlers of this role share. */
export type Desk = Pick<RoleContext, 'broker' | 'config' | 'log' | 'version'> & {
  store: ProjectStore;
  projection: Projection;
  engine: Engine;
  keys: KeyFile;
  policy: GovernancePolicy;
};

/** What every command may say beside its own fields. */
export type Said = {
  actor_id?: string | undefined;
  device_id?: string | undefined;
  expected_revision?: number | undefined;
};

/** Who acts where neither a token nor the caller says so. */
const NOBODY = 'local';

/** With a token, the token's name is the actor, whatever the caller says. */
export function authorOf(desk: Desk, { actor_id, device_id }: Said, ctx: Ctx): Author {
  const actorId = ctx.principal ?? actor_id ?? NOBODY;
  return { actorId, savedFrom: device_id, now: nowOf(desk) };
}

/** ISO-8601 with milliseconds. */
export function nowOf({ log }: Desk): string {
  return log.defaults.now().toISOString();
}

/**
 * The revision that the caller has read: of `If-Match`, or of the body. Undefined: it does not say.
 * @throws {INVALID_REQUEST} no revision, or two that differ
 */
export function expectedOf({ expected_revision }: Said, ctx: Ctx): number | undefined {
  const header = ctx.headers('if-match')?.trim();
  if (header === undefined || header === '*') return expected_revision;
  const digits = /^(?:W\/)?"(\d{1,15})"$/.exec(header)?.[1];
  if (digits === undefined) throw invalid('if-match', 'must be an ETag of this service, as "12"');
  const revision = Number(digits);
  if (expected_revision !== undefined && expected_revision !== revision) {
    throw invalid('expected_revision', 'differs from If-Match');
  }
  return revision;
}

/** Answers with the ETag of a revision. */
export function tagged<T>(data: T, revision: number, status?: 200 | 201): Reply<T> {
  const headers = { etag: `"${revision}"` };
  return reply(data, status === undefined ? { headers } : { headers, status });
}

/** The answer to a command. */
export function doneBody({ state, events, warnings }: Commanded) {
  const { revision, seq, document } = state;
  const changed = events.length > 0;
  return { project_id: document.id, revision, changed, seq, warnings: [...warnings] };
}

/** A project with what is computed of it beside. */
export function projectBody({ engine }: Desk, state: ProjectState) {
  const { document, revision, seq } = state;
  return {
    project_id: document.id,
    revision,
    document,
    state: computeState(document, engine.registry),
    chain: historyHead(state),
    as_of: seq,
  };
}
