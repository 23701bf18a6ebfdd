import type { JetStreamClient } from '@nats-io/jetstream';
import { headers, type NatsConnection } from 'nats';

/** What is compared with us: the same work by the client library alone, as one would write it. */

/** An event of any shape and its subject; the text is what is stored. */
export type RawEvent = { event_id: string };

/** One publish with a message id. */
export function publishRaw(js: JetStreamClient, subject: string, event: RawEvent) {
  return js.publish(subject, JSON.stringify(event), { msgID: event.event_id });
}

export type RawMessage = { subject: string; text: string; eventId: string };

const BATCH_TIMEOUT_MS = 10_000;

/** One atomic batch (ADR-50): the first message is a request, the last one commits. */
export async function publishRawBatch(
  nc: NatsConnection,
  batchId: string,
  size: number,
  message: (index: number) => RawMessage,
): Promise<void> {
  for (let index = 0; index < size; index += 1) {
    const { subject, text, eventId } = message(index);
    const hdrs = headers();
    hdrs.set('Nats-Msg-Id', eventId);
    hdrs.set('Nats-Batch-Id', batchId);
    hdrs.set('Nats-Batch-Sequence', String(index + 1));
    if (index === size - 1) hdrs.set('Nats-Batch-Commit', '1');
    if (index > 0 && index < size - 1) {
      nc.publish(subject, text, { headers: hdrs });
      continue;
    }
    const answer = await nc.request(subject, text, { headers: hdrs, timeout: BATCH_TIMEOUT_MS });
    const body = answer.string();
    if (body.includes('"error"')) throw new Error(`the batch was refused: ${body}`);
  }
}
