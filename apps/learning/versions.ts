import { putObject } from '#libs/broker';
import { AppError, type PayloadOf, type PolicyDocument } from '#libs/contracts';
import { latestVersion, type PolicyState, versionOf } from '#libs/learning';
import type { EventDraft } from '#libs/orders';
import { command, createPolicies, type RoleContext } from '#libs/runtime';

export type PolicyPayload = PayloadOf<'POLICY_UPDATED'>;

/** What is in force in a theater. */
export type Standing = { theater_id: string; policy: PolicyDocument | null; pinned: boolean };

/** A change of a policy that follows from its state; without a payload nothing is to be changed. */
export type Proposal<T> = { payload?: PolicyPayload; result: T };

export type PolicyVersions = ReturnType<typeof createPolicyVersions>;

/** Races with other instances that are decided anew. */
const ROUNDS = 10;
const REASON_CHARS = 2_000;

/** The versions of each theater's policy: one after the other, whoever makes them. */
export function createPolicyVersions({ broker, config, log }: RoleContext) {
  const policies = createPolicies(broker, config.garrisonId);

  /** Appends `payload` unless the policy has moved on since `known`; says if it did. */
  const append = async (
    theaterId: string,
    known: PolicyState,
    payload: PolicyPayload,
  ): Promise<boolean> => {
    const draft = draftOf(config.garrisonId, theaterId, known, payload);
    const subject = policies.subjectOf(theaterId);
    const { appended } = await command(log, policies.store, subject, ({ state }) => ({
      ok: true,
      events: state.seq === known.seq ? [draft] : [],
    }));
    // The same event by another instance that had the same thought: it was faster.
    return appended.some(({ duplicate }) => !duplicate);
  };

  /** Tries a change until it is there, or nothing is to be changed any more. */
  const change = async <T>(
    theaterId: string,
    propose: (state: PolicyState) => Promise<Proposal<T>>,
  ): Promise<T> => {
    for (let round = 1; ; round += 1) {
      const state = await policies.load(theaterId);
      const { payload, result } = await propose(state);
      if (payload === undefined || (await append(theaterId, state, payload))) return result;
      if (round === ROUNDS) {
        const subject = policies.subjectOf(theaterId);
        throw new AppError('VERSION_CONFLICT', { subject, actual: 'another', expected: state.seq });
      }
    }
  };

  /** The document in force; null: none was made yet. */
  const latest = async (state: PolicyState): Promise<PolicyDocument | null> => {
    const version = latestVersion(state);
    return version === undefined ? null : policies.document(version.document);
  };

  /** A version that was made before. @throws {POLICY_NOT_FOUND} with `field` version */
  const find = async (state: PolicyState, version: number): Promise<PolicyDocument> => {
    const found = versionOf(state, version);
    const document = found === undefined ? null : await policies.document(found.document);
    if (document !== null) return document;
    throw new AppError('POLICY_NOT_FOUND', { version }, { field: 'version' });
  };

  /** Stores a document and makes the payload that tells of it. */
  const store = async (document: PolicyDocument): Promise<PolicyPayload> => ({
    policy_version: document.version,
    previous_version: document.previous_version,
    reason: document.reason.slice(0, REASON_CHARS),
    window: document.window,
    document: await putObject(broker, new TextEncoder().encode(JSON.stringify(document))),
  });

  const standing = async (theaterId: string): Promise<Standing> => {
    const state = await policies.load(theaterId);
    return { theater_id: theaterId, policy: await latest(state), pinned: state.pinned };
  };

  return {
    load: (theaterId: string) => policies.load(theaterId),
    change,
    latest,
    find,
    store,
    standing,
  };
}

function draftOf(
  garrisonId: string,
  theaterId: string,
  known: PolicyState,
  payload: PolicyPayload,
): EventDraft {
  return {
    type: 'POLICY_UPDATED',
    payload,
    garrison_id: garrisonId,
    theater_id: theaterId,
    run_id: null,
    order_id: null,
    unit_id: null,
    // What it follows is part of its name: pinned, unpinned and pinned again are three facts.
    key: [theaterId, 'POLICY_UPDATED', payload.policy_version, known.seq].join('/'),
  };
}
