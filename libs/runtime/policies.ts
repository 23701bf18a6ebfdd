import { type Broker, getObject } from '#libs/broker';
import { type ObjectRef, type PolicyDocument, policyDocument } from '#libs/contracts';
import { type AggregateStore, createAggregateStore, ledgerSubject } from '#libs/eventlog';
import { EMPTY_POLICY, evolvePolicy, latestVersion, type PolicyState } from '#libs/learning';

export type Policies = {
  /** Loads states by `subjectOf`, as `command` wants it. */
  store: AggregateStore<PolicyState>;
  subjectOf(theaterId: string): string;
  load(theaterId: string): Promise<PolicyState>;
  /** The document that a version points to; null: it is gone, or is none. */
  document(ref: ObjectRef): Promise<PolicyDocument | null>;
  /** The document in force in a theater; null: there is none. */
  inForce(theaterId: string): Promise<PolicyDocument | null>;
};

const DOCUMENT_BYTES_MAX = 8 * 1024 * 1024;
const CACHED = 200;

/** The routing policies of theaters, read from the ledger and the object store. */
export function createPolicies(broker: Broker, garrisonId: string): Policies {
  const cache = new Map<string, PolicyDocument>();
  const store = createAggregateStore<PolicyState>(broker, EMPTY_POLICY, (state, events) =>
    events.reduce(evolvePolicy, state),
  );
  const subjectOf = (theaterId: string): string =>
    ledgerSubject({ garrison_id: garrisonId, theater_id: theaterId });
  const load = async (theaterId: string): Promise<PolicyState> =>
    (await store.load(subjectOf(theaterId))).state;

  const document = async ({ sha256 }: ObjectRef): Promise<PolicyDocument | null> => {
    const cached = cache.get(sha256);
    if (cached !== undefined) return cached;
    const bytes = await getObject(broker, sha256, { maxBytes: DOCUMENT_BYTES_MAX });
    const parsed = bytes === null ? undefined : policyDocument.safeParse(jsonOf(bytes));
    if (!parsed?.success) return null;
    if (cache.size >= CACHED) cache.delete(cache.keys().next().value as string);
    cache.set(sha256, parsed.data);
    return parsed.data;
  };

  return {
    store,
    subjectOf,
    load,
    document,
    inForce: async (theaterId) => {
      const version = latestVersion(await load(theaterId));
      return version === undefined ? null : document(version.document);
    },
  };
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined; // no document, as if there were none
  }
}
