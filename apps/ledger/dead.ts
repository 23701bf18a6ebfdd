import { type AnyEvent, AppError } from '#libs/contracts';
import { type EventIndex, type EventLog, parseLedgerSubject } from '#libs/eventlog';
import { eventIdFor } from '#libs/orders';
import { createOrderCommands } from '#libs/runtime';
import type { ServiceClient } from '#libs/service';
import { JOBS } from '#streams';
import { dropLetter, type Letter, listLetters, readLetter } from './dead-store.ts';
import { readJob } from './exhausted.ts';
import { redrive } from './redrive.ts';

type Place = Pick<AnyEvent, 'theater_id' | 'run_id' | 'order_id'>;
type CloseType = 'DEAD_LETTER_REDRIVEN' | 'DEAD_LETTER_DISCARDED';

const NOWHERE: Place = { theater_id: null, run_id: null, order_id: null };
const REASON_CHARS = 2_000;

/** Handlers of the dead letters: what could not be handled, to look at, send again or give up. */
export function createDeadLetters(log: EventLog, index: EventIndex, client: ServiceClient) {
  const { broker, garrisonId } = log;
  const orders = createOrderCommands(log);
  const closeId = (seq: number, type: CloseType) => eventIdFor(garrisonId, `dead/${seq}/${type}`);

  /** The letter; undefined where it was closed in this very way before. */
  const find = async (seq: number, type: CloseType): Promise<Letter | undefined> => {
    const letter = await readLetter(broker, seq);
    if (letter !== undefined) return letter;
    await index.catchUp();
    if (index.findById(closeId(seq, type)) === undefined) throw absent(seq);
    return undefined;
  };

  /** Tells what became of a letter and takes it off the list; both can be repeated. */
  const close = async (letter: Letter, type: CloseType): Promise<void> => {
    const { seq, channel, reason } = letter;
    const event = {
      event_id: closeId(seq, type),
      ts: log.defaults.now().toISOString(),
      type,
      garrison_id: garrisonId,
      ...(await placeOf(letter)),
      unit_id: null,
      payload: { channel, dead_seq: seq, reason: reason.slice(0, REASON_CHARS) },
    } as AnyEvent;
    await log.append(event, { tsGiven: false });
    await dropLetter(broker, seq);
  };

  /** The aggregate that a letter is about, where the ledger knows it. */
  const placeOf = async ({ source, payload }: Letter): Promise<Place> => {
    const fact = parseLedgerSubject(source.subject);
    if (fact !== undefined) {
      const { theater_id = null, run_id = null, order_id = null } = fact;
      return { theater_id, run_id, order_id };
    }
    const job = source.stream === JOBS.name ? readJob(payload) : undefined;
    const order = job && (await orders.load(job));
    if (order === undefined || order.version === 0) return NOWHERE;
    const { theater_id, run_id, order_id } = order;
    return { theater_id, run_id, order_id };
  };

  return {
    deadLetters: async (input: Parameters<typeof listLetters>[1]) => {
      const { letters, next } = await listLetters(broker, input);
      return { dead_letters: letters.map(summaryOf), next_cursor: next };
    },
    deadLetter: async ({ seq }: { seq: number }) => {
      const letter = await readLetter(broker, seq);
      if (letter === undefined) throw absent(seq);
      return { ...summaryOf(letter), payload: letter.payload };
    },
    redrive: async ({ seq }: { seq: number }) => {
      const letter = await find(seq, 'DEAD_LETTER_REDRIVEN');
      if (letter === undefined) return { redriven: true, subject: '', duplicate: true };
      await redrive(log, orders, client, letter);
      await close(letter, 'DEAD_LETTER_REDRIVEN');
      return { redriven: true, subject: letter.source.subject, duplicate: false };
    },
    discard: async ({ seq }: { seq: number }) => {
      const letter = await find(seq, 'DEAD_LETTER_DISCARDED');
      if (letter !== undefined) await close(letter, 'DEAD_LETTER_DISCARDED');
      return { discarded: true, duplicate: letter === undefined };
    },
  };
}

function absent(seq: number): AppError {
  return new AppError('DEAD_LETTER_NOT_FOUND', { seq }, { field: 'seq' });
}

function summaryOf({ payload, ...letter }: Letter) {
  return { ...letter, bytes: Buffer.byteLength(payload) };
}
