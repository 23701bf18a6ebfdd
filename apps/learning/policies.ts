import { AppError } from '#libs/contracts';
import {
  diffPolicies,
  latestVersion,
  learn,
  type PolicyChange,
  type PolicyState,
} from '#libs/learning';
import type { Projection } from '#libs/projections';
import { countTheater } from './outcomes.ts';
import type { PolicyPayload, PolicyVersions, Proposal, Standing } from './versions.ts';

export type Ticked = Standing & { changed: boolean; reason: string };

/** What policies are changed by: their versions, and the numbers. */
export type PolicyBook = {
  versions: PolicyVersions;
  projection: Projection;
  /** Share of orders, 0 to 1, that new versions let explore. */
  exploration: number;
};

/** Counts what has ended and makes the next version where that says something new. */
export function tickPolicy(book: PolicyBook, theaterId: string): Promise<Ticked> {
  const { versions, exploration } = book;
  return versions.change(theaterId, async (state): Promise<Proposal<Ticked>> => {
    const previous = await versions.latest(state);
    const { pinned } = state;
    if (pinned) {
      const reason = `pinned at version ${latestVersion(state)?.version}`;
      const policy = previous;
      return { result: { theater_id: theaterId, policy, pinned, changed: false, reason } };
    }
    const counted = countedOf(book, theaterId);
    const learned = learn({ ...counted, theaterId, previous, exploration });
    const { document: policy, changed, reason } = learned;
    const result = { theater_id: theaterId, policy, pinned, changed, reason };
    if (!changed || policy === null) return { result };
    return { payload: await versions.store(policy), result };
  });
}

type Wanted = { pinned: boolean; version?: number | undefined; by?: string | undefined };

/** Pins the version in force, or an earlier one that it makes the one in force; or unpins. */
export async function pinPolicy(
  book: PolicyBook,
  theaterId: string,
  { pinned, version, by }: Wanted,
): Promise<Standing> {
  const { versions } = book;
  await versions.change(theaterId, async (state): Promise<Proposal<undefined>> => {
    const latest = latestVersion(state);
    if (latest === undefined) {
      throw new AppError('POLICY_NOT_FOUND', { version: version ?? 1 }, { field: 'theater_id' });
    }
    if (pinned && version !== undefined && version !== latest.version) {
      const payload = await again(book, theaterId, state, version, by);
      return { payload: { ...payload, pinned }, result: undefined };
    }
    if (state.pinned === pinned) return { result: undefined };
    const { previous_version, document, window } = latest;
    const payload = {
      policy_version: latest.version,
      previous_version,
      document,
      window,
      reason: pinned ? 'pinned' : 'unpinned',
      pinned,
      ...(by !== undefined && { by }),
    };
    return { payload, result: undefined };
  });
  return versions.standing(theaterId);
}

/** Makes an earlier version the one in force, as the next version; a pin stays. */
export async function rollBackPolicy(
  book: PolicyBook,
  theaterId: string,
  { version, by }: { version: number; by?: string | undefined },
): Promise<Standing> {
  const { versions } = book;
  await versions.change(theaterId, async (state): Promise<Proposal<undefined>> => {
    if (latestVersion(state)?.version === version) return { result: undefined };
    const payload = await again(book, theaterId, state, version, by);
    return { payload: { ...payload, pinned: state.pinned }, result: undefined };
  });
  return versions.standing(theaterId);
}

/** An earlier version as the next one. Its window ends now, so that only news replaces it. */
async function again(
  book: PolicyBook,
  theaterId: string,
  state: PolicyState,
  version: number,
  by: string | undefined,
): Promise<PolicyPayload> {
  const { versions } = book;
  const document = await versions.find(state, version);
  const latest = latestVersion(state)?.version ?? 0;
  const payload = await versions.store({
    ...document,
    version: latest + 1,
    previous_version: latest,
    window: countedOf(book, theaterId).window ?? document.window,
    reason: `version ${version} again${by === undefined ? '' : `, by ${by}`}`,
  });
  return { ...payload, ...(by !== undefined && { by }) };
}

/** What changed between two versions. @throws {POLICY_NOT_FOUND} */
export async function diffVersions(
  { versions }: PolicyBook,
  theaterId: string,
  from: number,
  to: number,
): Promise<PolicyChange[]> {
  const state = await versions.load(theaterId);
  return diffPolicies(await versions.find(state, from), await versions.find(state, to));
}

const countedOf = ({ projection }: PolicyBook, theaterId: string) =>
  projection.read((reader) => countTheater(reader, theaterId));
