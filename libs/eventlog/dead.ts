import type { Broker } from '#libs/broker';
import { guarded } from './read.ts';
import { deadSubject } from './subjects.ts';

/** Something that could not be handled, kept so that a person can look at it and send it again. */
export type DeadLetter = {
  /** Where it came from, as `intake`, `jobs`, `reactor-co`. */
  channel: string;
  code: string;
  reason: string;
  source: { stream: string; seq: number; subject: string };
  /** The bytes as text where they are UTF-8; bounded by the stream's message limit. */
  payload: string;
  at: string;
};

const PAYLOAD_BYTES_MAX = 256 * 1024;

/**
 * Writes to the DEAD stream and answers the sequence there; the same source message again writes
 * nothing new.
 * @throws {DEPENDENCY_UNAVAILABLE} not stored: the source must not be given up
 */
export async function setAside(
  broker: Broker,
  letter: Omit<DeadLetter, 'payload'> & { data: Uint8Array },
): Promise<number> {
  const { data, ...rest } = letter;
  const payload = new TextDecoder().decode(data.subarray(0, PAYLOAD_BYTES_MAX));
  const body: DeadLetter = { ...rest, payload };
  const { seq } = await guarded('dead letter', () =>
    broker.js.publish(deadSubject(letter.channel), JSON.stringify(body), {
      msgID: `${letter.channel}:${letter.source.stream}:${letter.source.seq}`,
    }),
  );
  return seq;
}
