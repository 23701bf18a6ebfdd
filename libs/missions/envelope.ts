import { createHash } from 'node:crypto';
import {
  AppError,
  MISSION_SCHEMA_VERSION,
  type MissionEnvelope,
  missionEnvelope,
  type MissionEventType,
} from '#libs/contracts';
import type { Gate, GateContext } from './gate.ts';

/** The three fields that every event of a mission carries. */
export type MissionIdentity = {
  mission_slug: string;
  /** As "064"; a string on the wire. */
  mission_number: string;
  mission_type: string;
};

/** Who emits: a project, a machine and user, a checkout. */
export type Emitter = {
  /** UUID. */
  projectUuid: string;
  /** Opaque. */
  nodeId: string;
  /** UUID of the checkout. */
  buildId: string;
  /** Optional fields of the envelope, as project_slug or git_branch. */
  extras?: Readonly<Record<string, unknown>>;
};

/** An event before it has an id, a time and a clock. */
export type EventDraft = {
  type: MissionEventType;
  /** Undefined: an event of the mission itself. */
  wpId: string | undefined;
  /** Without the three mission fields. */
  payload: Readonly<Record<string, unknown>>;
  /** What makes the event's id the same in every try; undefined: each is new. */
  key?: string;
};

/** What one emission is given. */
export type Stamp = {
  newId: () => string;
  /** The wall clock, ms. */
  nowMs: number;
  /** The emitter's clock and the highest one it has seen in the mission. */
  lamport: number;
  /** Milliseconds of the mission's last event; times go forward inside a mission. */
  afterMs: number;
  causationId?: string | null;
  correlationId?: string;
};

/** Envelopes of one decision: clocks and times go up by one, the first is the cause of the others. */
export function toEnvelopes(
  drafts: readonly EventDraft[],
  identity: MissionIdentity,
  emitter: Emitter,
  stamp: Stamp,
): MissionEnvelope[] {
  const startMs = Math.max(stamp.nowMs, stamp.afterMs + 1);
  let first: string | undefined;
  return drafts.map((draft, i) => {
    const event_id =
      draft.key === undefined
        ? stamp.newId()
        : derivedId(emitter.projectUuid, identity.mission_slug, draft.key);
    const causation_id = stamp.causationId ?? first ?? null;
    first ??= event_id;
    return {
      ...emitter.extras,
      event_id,
      event_type: draft.type,
      aggregate_id: draft.wpId ?? identity.mission_slug,
      aggregate_type: draft.wpId === undefined ? 'Mission' : 'WorkPackage',
      schema_version: MISSION_SCHEMA_VERSION,
      build_id: emitter.buildId,
      node_id: emitter.nodeId,
      lamport_clock: stamp.lamport + i + 1,
      timestamp: new Date(startMs + i).toISOString(),
      causation_id,
      correlation_id: stamp.correlationId ?? first,
      project_uuid: emitter.projectUuid,
      payload: { ...identity, ...draft.payload },
    };
  });
}

/** A UUID that follows from what it names, so that a repeated effect has the same id. */
export function derivedId(...parts: readonly string[]): string {
  const hex = createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
  // Version 8 (RFC 9562): made by us.
  const text = `${hex.slice(0, 12)}8${hex.slice(13, 16)}a${hex.slice(17)}`;
  return [
    text.slice(0, 8),
    text.slice(8, 12),
    text.slice(12, 16),
    text.slice(16, 20),
    text.slice(20),
  ].join('-');
}

/**
 * Checks and normalises an event from outside: first the gate, then the shape of its type.
 * @throws {CONTRACT_VIOLATION} with `field` and, in `details`, context, field and reason
 */
export function readEnvelope(gate: Gate, context: GateContext, value: unknown): MissionEnvelope {
  gate.envelope(context, value);
  const read = missionEnvelope.safeParse(value);
  if (read.success) return read.data;
  const issue = read.error.issues[0];
  const field = issue?.path.join('.') ?? 'event';
  const reason = issue?.message ?? 'has not the shape of its type';
  throw new AppError(
    'CONTRACT_VIOLATION',
    { context, field, reason },
    { field, details: { context, field, reason } },
  );
}
