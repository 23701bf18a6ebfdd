import type { StoredMsg } from '@nats-io/jetstream';
import type { Broker } from '#libs/broker';
import { AppError, type StoredEvent } from '#libs/contracts';
import { decodeEvent } from './codec.ts';
import { LEDGER_STREAM } from './subjects.ts';

const PAGE = 500;
const PAGE_BYTES = 8 * 1024 * 1024;

/** The event stored at `seq`, asked of the stream's leader; undefined where there is none. */
export async function readBySeq(broker: Broker, seq: number): Promise<StoredEvent | undefined> {
  const msg = await guarded('read', () => broker.jsm.streams.getMessage(LEDGER_STREAM, { seq }));
  if (msg === null) return undefined;
  const decoded = decodeEvent(msg.data, msg.seq, msg.subject);
  return decoded.ok ? decoded.event : undefined;
}

/** Sequence of the last message in the ledger, 0 if it is empty. */
export async function ledgerTail(broker: Broker): Promise<number> {
  const info = await guarded('read', () => broker.jsm.streams.info(LEDGER_STREAM));
  return info.state.last_seq;
}

/**
 * Events of the subjects that `filter` matches, from sequence `fromSeq` on, oldest first, a page at
 * a time. Any replica may answer: a page can be behind the leader, never out of order.
 */
export async function* readFrom(
  broker: Broker,
  filter: string,
  fromSeq: number,
): AsyncGenerator<StoredEvent[]> {
  let seq = Math.max(1, fromSeq);
  for (;;) {
    const { events, last, pending } = await readPage(broker, filter, seq);
    if (events.length > 0) yield events;
    if (pending === 0) return;
    seq = last + 1;
  }
}

async function readPage(broker: Broker, filter: string, seq: number) {
  const events: StoredEvent[] = [];
  let last = seq - 1;
  let pending = 0;
  await guarded('read', async () => {
    const messages = await broker.jsm.direct.getBatch(LEDGER_STREAM, {
      seq,
      batch: PAGE,
      max_bytes: PAGE_BYTES,
      next_by_subj: filter,
    });
    for await (const msg of messages) {
      last = msg.seq;
      // How many more match after this one; the library's type hides it.
      pending = (msg as StoredMsg & { pending: number }).pending;
      const decoded = decodeEvent(msg.data, msg.seq, msg.subject);
      if (decoded.ok) events.push(decoded.event);
    }
  });
  return { events, last, pending };
}

/** The first event on a subject that `filter` matches; any replica may answer. */
export async function readFirst(broker: Broker, filter: string): Promise<StoredEvent | undefined> {
  const msg = await guarded('read', () =>
    broker.jsm.direct.getMessage(LEDGER_STREAM, { seq: 1, next_by_subj: filter }),
  );
  if (msg === null) return undefined;
  const decoded = decodeEvent(msg.data, msg.seq, msg.subject);
  return decoded.ok ? decoded.event : undefined;
}

/** Runs a read; a broker that does not answer becomes DEPENDENCY_UNAVAILABLE. */
export async function guarded<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof AppError) throw error;
    const reason = `${what}: ${error instanceof Error ? error.message : String(error)}`;
    throw new AppError(
      'DEPENDENCY_UNAVAILABLE',
      { dependency: 'The broker', reason },
      { cause: error },
    );
  }
}
