import { callBroker } from '#libs/broker';
import { API, AppError, CHANNELS, type JobMessage } from '#libs/contracts';
import type { EventLog } from '#libs/eventlog';
import { reissueOrder } from '#libs/orders';
import type { OrderCommands } from '#libs/runtime';
import type { ServiceClient } from '#libs/service';
import { DEAD, JOBS, LEDGER } from '#streams';
import type { Letter } from './dead-store.ts';
import { readJob } from './exhausted.ts';

/** What is longer was cut when it was set aside. */
const PAYLOAD_CHARS_MAX = 256 * 1024;

/**
 * Sends a dead letter again to where it came from; the broker drops the second of two at once.
 * @throws {ILLEGAL_TRANSITION} its order is past that attempt, or its payload was cut
 */
export async function redrive(
  log: EventLog,
  orders: OrderCommands,
  client: ServiceClient,
  letter: Letter,
): Promise<void> {
  const { stream, subject } = letter.source;
  // Its role verifies it again and says at once what became of it.
  if (CHANNELS.some((channel) => channel === letter.channel)) {
    await client.call(API.intake.redrive, { seq: letter.seq });
    return;
  }
  const publish = async (payload: string): Promise<void> => {
    const options = { msgID: `redrive:${DEAD.name}:${letter.seq}` };
    await callBroker(log.broker, () => log.broker.js.publish(subject, payload, options));
  };
  const job = stream === JOBS.name ? readJob(letter.payload) : undefined;
  if (job !== undefined) return redriveJob(orders, letter, job, publish);
  // A fact is in the ledger for good: DEAD_LETTER_REDRIVEN wakes those that react to it.
  if (stream === LEDGER.name) return;
  if (letter.payload.length >= PAYLOAD_CHARS_MAX) {
    const status = 'its payload was cut when it was set aside';
    throw new AppError('ILLEGAL_TRANSITION', { what: 'Sending the message again', status });
  }
  await publish(letter.payload);
}

/** A job goes back to its queue; an order that has failed over it begins its next attempt. */
async function redriveJob(
  orders: OrderCommands,
  letter: Letter,
  job: JobMessage,
  publish: (payload: string) => Promise<void>,
): Promise<void> {
  const { status, attempt, created, version } = await orders.load(job);
  if (version === 0 || (status === 'QUEUED' && attempt === job.attempt)) {
    return publish(letter.payload);
  }
  const next = { ...job, attempt: job.attempt + 1, unit_id: null };
  // The second: an earlier try of this call got so far, or the order is on its way by itself.
  const failed = status === 'FAILED' && attempt === job.attempt;
  if (!failed && !(status === 'QUEUED' && attempt === next.attempt)) {
    const standing = `order ${job.order_id} is ${status} in attempt ${attempt}`;
    throw new AppError('ILLEGAL_TRANSITION', { what: 'Sending the job again', status: standing });
  }
  if (failed) {
    const command = { reason: `dead letter ${letter.seq} was redriven`, maxRetries: attempt };
    await orders.decide(job, (now) => reissueOrder(now, command));
  }
  // Who planned an order makes a new worktree and a new job for it.
  if (!created) await publish(JSON.stringify(next));
}
