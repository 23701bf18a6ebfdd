import { type Broker, callBroker } from '#libs/broker';
import { invalid } from '#libs/contracts';
import type { DeadLetter } from '#libs/eventlog';
import { DEAD } from '#streams';

/** A dead letter and its sequence in DEAD, by which people name it. */
export type Letter = DeadLetter & { seq: number } & Signed;

/** What a rejected delivery has beside: its headers, key, digest and size. */
type Signed = { delivery?: Record<string, unknown>; encoding?: string };

/** Messages looked at for one page, where a channel is rare. */
const LOOKED_MAX = 5_000;
const CHUNK = 64;

/** One letter; undefined where there is none. */
export async function readLetter(broker: Broker, seq: number): Promise<Letter | undefined> {
  const message = await callBroker(broker, () => broker.jsm.streams.getMessage(DEAD.name, { seq }));
  return message === null ? undefined : { ...toLetter(message.data, message.subject), seq };
}

/** Takes a letter off the list; one that is gone is passed over. */
export async function dropLetter(broker: Broker, seq: number): Promise<void> {
  await callBroker(broker, () => broker.jsm.streams.deleteMessage(DEAD.name, seq));
}

/** Letters, newest first, of one channel or all. @throws {INVALID_REQUEST} no cursor of this list */
export async function listLetters(
  broker: Broker,
  input: { channel?: string | undefined; limit: number; cursor?: string | undefined },
): Promise<{ letters: Letter[]; next: string | null }> {
  const { state } = await callBroker(broker, () => broker.jsm.streams.info(DEAD.name));
  const letters: Letter[] = [];
  let at = Math.min(state.last_seq, startOf(input.cursor));
  // An empty stream begins at 0, where no message can be asked for.
  const end = Math.max(1, state.first_seq, at - LOOKED_MAX);
  while (at >= end && letters.length < input.limit) {
    const count = Math.min(CHUNK, input.limit - letters.length, at - end + 1);
    const seqs = Array.from({ length: count }, (_, index) => at - index);
    for (const letter of await Promise.all(seqs.map((seq) => readLetter(broker, seq)))) {
      if (letter === undefined) continue;
      if (input.channel === undefined || letter.channel === input.channel) letters.push(letter);
    }
    at -= count;
  }
  const more = at >= state.first_seq && state.messages > 0;
  return { letters, next: more ? String(at) : null };
}

function startOf(cursor: string | undefined): number {
  if (cursor === undefined) return Number.MAX_SAFE_INTEGER;
  if (!/^\d{1,15}$/.test(cursor)) throw invalid('cursor', 'is not a cursor of this list');
  return Number(cursor);
}

/** What lies in DEAD was written by us, or put there by hand; that is shown as far as it goes. */
function toLetter(data: Uint8Array, subject: string): DeadLetter & Signed {
  const text = new TextDecoder().decode(data);
  const found = asObject(text);
  const source = typeof found.source === 'object' && found.source !== null ? found.source : {};
  const delivery = asDelivery(found.delivery);
  const { stream, seq, subject: from } = source as Record<string, unknown>;
  const shown = (value: unknown, or: string): string => (typeof value === 'string' ? value : or);
  return {
    channel: shown(found.channel, subject.split('.')[2] ?? ''),
    code: shown(found.code, 'UNKNOWN'),
    reason: shown(found.reason, 'not a dead letter of ours'),
    source: { stream: shown(stream, ''), seq: Number(seq ?? 0), subject: shown(from, '') },
    payload: shown(found.payload, text),
    ...(delivery !== undefined && { delivery, encoding: shown(found.encoding, 'text') }),
    at: shown(found.at, new Date(0).toISOString()),
  };
}

function asDelivery(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)
    : undefined;
}

function asObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
