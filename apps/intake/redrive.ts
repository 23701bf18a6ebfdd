import { type Broker, callBroker } from '#libs/broker';
import { AppError, type Channel, CHANNELS } from '#libs/contracts';
import { DEAD } from '#streams';
import type { Receiver } from './receiver.ts';
import type { RejectedLetter } from './rejections.ts';

/**
 * Takes a rejected delivery again, as after a secret was added.
 * @throws {DEAD_LETTER_NOT_FOUND} there is no such letter, or it is about something else
 * @throws {ILLEGAL_TRANSITION} its body was not kept, or it is rejected again
 */
export async function redriveDelivery(broker: Broker, receiver: Receiver, seq: number) {
  const message = await callBroker(broker, () => broker.jsm.streams.getMessage(DEAD.name, { seq }));
  const letter = message?.json<Partial<RejectedLetter>>();
  const channel = CHANNELS.find((one) => one === letter?.channel);
  if (letter?.delivery === undefined || channel === undefined) {
    throw new AppError('DEAD_LETTER_NOT_FOUND', { seq }, { field: 'seq' });
  }
  const { payload = '', encoding } = letter;
  if (encoding === 'none') throw impossible('its body was not kept');
  const body = Buffer.from(payload, encoding === 'base64' ? 'base64' : 'utf8');
  const { answer } = await receiver.again({ ...letter.delivery, ...arrival(channel), body });
  if (!answer.ok) throw impossible(`it would be rejected again (${answer.reason})`);
  const id = 'milestoneId' in answer ? answer.milestoneId : answer.summaryId;
  return { status: answer.status, id };
}

function arrival(channel: Channel) {
  return { channel, arrivedMs: Date.now() };
}

function impossible(status: string): AppError {
  return new AppError('ILLEGAL_TRANSITION', { what: 'Taking the delivery again', status });
}
