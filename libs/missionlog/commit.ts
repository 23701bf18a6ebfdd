import type { Broker } from '#libs/broker';
import { AppError, LIMITS, type MissionEnvelope } from '#libs/contracts';
import type { Gate } from '#libs/missions';
import {
  type BatchMessage,
  CODES,
  isVersionConflict,
  type Publisher,
  publishUntil,
  refused,
  sendBatch,
} from '../eventlog/internal.ts';
import { MISSION_STREAM } from './subjects.ts';

/** What became of a commit; `seq`: of its last event in the stream. */
export type Outcome = { kind: 'stored'; seq: number } | { kind: 'moved' | 'unsure' };

export type CommitContext = {
  broker: Broker;
  publisher: Publisher;
  gate: Gate;
  newBatchId: () => string;
};

const TRY_MS = 2_000;
const COMMIT_TIMEOUT_MS = 10_000;
const encoder = new TextEncoder();

/**
 * Appends the events of one decision to a mission's subject, all or none.
 * @param expect sequence of the subject's last message, 0 if it has none
 * @returns `stored`; `moved`: the mission has moved on by others; `unsure`: it has moved on, perhaps
 *   by these very events in a try whose ack was lost: read it again and look for their ids
 * @throws {CONTRACT_VIOLATION} before anything is sent
 * @throws {PAYLOAD_TOO_LARGE} one over LIMITS.eventBytes, or more than LIMITS.batchEvents
 * @throws {DEPENDENCY_UNAVAILABLE} `details.outcome` says if it may be stored
 */
export async function commit(
  context: CommitContext,
  subject: string,
  events: readonly MissionEnvelope[],
  expect: number,
): Promise<Outcome> {
  const { broker, publisher, gate, newBatchId } = context;
  if (events.length > LIMITS.batchEvents) {
    throw new AppError('PAYLOAD_TOO_LARGE', { what: 'decision', limit: LIMITS.batchEvents });
  }
  const messages = events.map((event, i) => {
    gate.envelope('publish', event);
    return toMessage(subject, event, i === 0 ? expect : undefined);
  });
  const [only] = messages;
  if (only === undefined) throw new Error('a commit without an event');
  const { ack, unsure } = await publishUntil(broker, COMMIT_TIMEOUT_MS, (leftMs) => {
    const timeoutMs = Math.min(TRY_MS, leftMs);
    return messages.length === 1
      ? publisher.publish(subject, only.data, only.hdrs, timeoutMs)
      : sendBatch({ publisher }, messages, newBatchId(), timeoutMs);
  });
  const moved: Outcome = { kind: unsure ? 'unsure' : 'moved' };
  if (ack.kind === 'stored') return ack.duplicate ? moved : { kind: 'stored', seq: ack.seq };
  if (isVersionConflict(ack) || ack.errCode === CODES.batchDuplicate) return moved;
  throw refused(ack, unsure);
}

function toMessage(
  subject: string,
  event: MissionEnvelope,
  expect: number | undefined,
): BatchMessage {
  const data = encoder.encode(JSON.stringify(event));
  if (data.length > LIMITS.eventBytes) {
    const params = { what: 'event', limit: LIMITS.eventBytes };
    throw new AppError('PAYLOAD_TOO_LARGE', params, { field: 'payload' });
  }
  const hdrs = {
    // Of this mission: another mission's event of the same id is another event.
    'Nats-Msg-Id': `${subject}/${event.event_id}`,
    'Nats-Expected-Stream': MISSION_STREAM,
    ...(expect !== undefined && { 'Nats-Expected-Last-Subject-Sequence': String(expect) }),
  };
  return { subject, data, hdrs };
}
