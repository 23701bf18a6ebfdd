import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { StoredEvent } from '#libs/contracts';
import type { SentEvent } from '../oracle.ts';
import type { Evidence, Violation } from './evidence.ts';
import type { History } from './history.ts';

/** Nothing that was acknowledged is missing, twice, or other than it was sent. */
export function checkAcked({ oracle, events, dead }: Evidence): Violation[] {
  const byId = Map.groupBy(events, ({ event_id }) => event_id);
  const found: Violation[] = [];
  const tell = (message: string): void => void found.push({ invariant: 'acked', message });
  for (const { event, acks, refusals } of oracle.appends.values()) {
    const { event_id } = event;
    const stored = byId.get(event_id)?.[0];
    if (acks.length > 0) tellOf(event, stored, tell);
    if (acks.length === 0) {
      const why = refusals.length > 0 ? `refused: ${refusals.join(', ')}` : 'never acknowledged';
      tell(`${event_id} was sent and ${why}`);
    }
    for (const { seq } of acks) {
      if (seq !== stored?.seq) tell(`${event_id} was acknowledged at ${seq}, is at ${stored?.seq}`);
    }
    if (acks.filter(({ duplicate }) => !duplicate).length > 1) {
      tell(`${event_id} was acknowledged as new more than once`);
    }
  }
  for (const [id, { event, acks }] of oracle.queued) {
    if (acks === 0) tell(`${id} could never be published`);
    else if (event !== null) tellOf(event, byId.get(event.event_id)?.[0], tell);
    else if (!dead.some(({ channel, payload }) => channel === 'intake' && payload.includes(id))) {
      tell(`${id} was published, is no event, and is not among the dead letters`);
    }
  }
  return found;
}

function tellOf(sent: SentEvent, stored: StoredEvent | undefined, tell: (text: string) => void) {
  if (stored === undefined) return tell(`${sent.event_id} was acknowledged and is not there`);
  const { seq: _seq, ...fields } = stored;
  if (isDeepStrictEqual(fields, sent)) return undefined;
  return tell(
    `${sent.event_id} is stored as ${JSON.stringify(fields)}, sent ${JSON.stringify(sent)}`,
  );
}

/** Every message of the stream is an event of its own id. */
export function checkIds({ events, messages, lastSeq }: Evidence): Violation[] {
  const found: Violation[] = [];
  const seen = new Map<string, number>();
  for (const { event_id, seq } of events) {
    const before = seen.get(event_id);
    if (before !== undefined) {
      found.push({
        invariant: 'unique ids',
        message: `${event_id} is stored at ${before} and at ${seq}`,
      });
    }
    seen.set(event_id, seq);
  }
  if (events.length !== messages || messages !== lastSeq) {
    const message = `${events.length} events in ${messages} messages up to sequence ${lastSeq}`;
    found.push({ invariant: 'unique ids', message });
  }
  return found;
}

/** Every acknowledged chat is one run, with what the user wrote. */
export function checkChats({ oracle, events, objects }: Evidence, history: History): Violation[] {
  const found: Violation[] = [];
  const created = events.filter(
    (event): event is StoredEvent & { type: 'RUN_CREATED' } => event.type === 'RUN_CREATED',
  );
  const byRequest = Map.groupBy(created, ({ payload }) => payload.request_id ?? '');
  for (const [requestId, { chat, acks, refusals }] of oracle.chats) {
    const runs = byRequest.get(requestId) ?? [];
    const run_id = runs[0]?.run_id ?? null;
    const tell = (message: string): void =>
      void found.push({ invariant: 'chats', message: `${requestId} ${message}`, run_id });
    if (refusals.length > 0) tell(`was refused: ${refusals.join(', ')}`);
    if (acks.length === 0) tell('was never acknowledged');
    if (runs.length !== 1) tell(`has ${runs.length} runs`);
    if (acks.some((id) => id !== run_id)) tell(`was told of ${acks.join(', ')}, is ${run_id}`);
    const first = runs[0];
    if (first === undefined) continue;
    const sha256 = createHash('sha256').update(chat.message).digest('hex');
    const input = first.payload.inputs?.find(({ name }) => name === 'message.md');
    if (input?.sha256 !== sha256) tell('has another message than was sent');
    if (!objects.has(sha256)) tell('lost its message');
    if (first.theater_id !== chat.theater) tell(`is in ${first.theater_id}, not ${chat.theater}`);
  }
  for (const runId of oracle.cancelled) {
    const status = history.runs.get(runId)?.status;
    if (status === 'CANCELLED') continue;
    const message = `${runId} was acknowledged as cancelled and is ${status}`;
    found.push({ invariant: 'chats', message, run_id: runId });
  }
  return found;
}
