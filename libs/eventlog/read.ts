import {
  JetStreamApiError,
  JetStreamError,
  type MsgRequest,
  type StreamInfo,
} from '@nats-io/jetstream';
import { createInbox, type Msg } from 'nats';
import { type Broker, brokerUnavailable, isBrokerUnavailable } from '#libs/broker';
import { AppError, type StoredEvent } from '#libs/contracts';
import { decodeEvent } from './codec.ts';
import type { Decode } from './cursor.ts';
import { inboxPrefix } from './publisher.ts';
import { LEDGER_STREAM } from './subjects.ts';

const PAGE = 500;
const PAGE_BYTES = 8 * 1024 * 1024;
/** A page is given up when nothing more of it has come for so long. */
const SILENCE_MS = 5_000;

/** A message as the stream's leader has it; `event` is undefined where its bytes are none. */
export type Found = { seq: number; event: StoredEvent | undefined };

/** The event stored at `seq`, asked of the stream's leader; undefined where there is none. */
export async function readBySeq(broker: Broker, seq: number): Promise<StoredEvent | undefined> {
  return (await readLeader(broker, { seq }))?.event;
}

/** The first message on `subject` from `fromSeq` on, asked of the leader; undefined: none. */
export function readNext(
  broker: Broker,
  subject: string,
  fromSeq: number,
): Promise<Found | undefined> {
  return readLeader(broker, { seq: fromSeq, next_by_subj: subject });
}

/** Sequence of the last message on `subject`, asked of the leader; 0 if there is none. */
export async function subjectVersion(broker: Broker, subject: string): Promise<number> {
  return (await readLeader(broker, { last_by_subj: subject }))?.seq ?? 0;
}

type LeaderQuery = MsgRequest | { seq: number; next_by_subj: string };

async function readLeader(broker: Broker, query: LeaderQuery): Promise<Found | undefined> {
  const msg = await ask(broker, () =>
    broker.jsm.streams.getMessage(LEDGER_STREAM, query as MsgRequest),
  );
  if (msg === null) return undefined;
  const decoded = decodeEvent(msg.data, msg.seq, msg.subject);
  return { seq: msg.seq, event: decoded.ok ? decoded.event : undefined };
}

/** The stream's configuration and state, asked of its leader. */
export function streamInfo(broker: Broker): Promise<StreamInfo> {
  return ask(broker, () => broker.jsm.streams.info(LEDGER_STREAM));
}

/** Sequence of the last message in the ledger, 0 if it is empty. */
export function ledgerTail(broker: Broker): Promise<number> {
  return streamTail(broker, LEDGER_STREAM);
}

/** Sequence of the last message in a stream, 0 if it is empty. */
export async function streamTail(broker: Broker, stream: string): Promise<number> {
  const info = await ask(broker, () => broker.jsm.streams.info(stream));
  return info.state.last_seq;
}

/**
 * Events of the subjects that `filter` matches, from sequence `fromSeq` on, oldest first, a page at
 * a time. Any replica may answer: a page can be behind the leader, never out of order. Bytes that
 * are no event are left out.
 *
 * @throws {DEPENDENCY_UNAVAILABLE} the broker does not answer; what was yielded stays right
 */
export function readFrom(
  broker: Broker,
  filter: string,
  fromSeq: number,
): AsyncGenerator<StoredEvent[]> {
  return eventsOf(readPages(broker, filter, { seq: Math.max(1, fromSeq) }));
}

/** As `readFrom`, with how far the page goes on each subject. */
export function readVersions(
  broker: Broker,
  filter: string,
  fromSeq: number,
): AsyncGenerator<EventPage> {
  return readPages(broker, filter, { seq: Math.max(1, fromSeq) });
}

/** As `readFrom`, but from the first event that the broker stored at `time` or later. */
export function readSince(
  broker: Broker,
  filter: string,
  time: Date,
): AsyncGenerator<StoredEvent[]> {
  return eventsOf(readPages(broker, filter, { start_time: time.toISOString() }));
}

/** The first event on a subject that `filter` matches; any replica may answer. */
export async function readFirst(broker: Broker, filter: string): Promise<StoredEvent | undefined> {
  for await (const { events } of readPages(broker, filter, { seq: 1 }, 1)) {
    if (events.length > 0) return events[0];
  }
  return undefined;
}

export type StreamPage<E> = {
  events: E[];
  /** Last sequence read of each subject; bytes that are no event count, as the broker counts them. */
  versions: ReadonlyMap<string, number>;
  lastSeq: number;
};
export type EventPage = StreamPage<StoredEvent>;

/** A stream to read and how its messages are read. */
export type StreamOf<E> = { stream: string; decode: Decode<E> };
const LEDGER: StreamOf<StoredEvent> = { stream: LEDGER_STREAM, decode: decodeEvent };

/** As `readVersions`, of any stream that allows direct reads. */
export function readStream<E>(
  broker: Broker,
  source: StreamOf<E>,
  filter: string,
  fromSeq: number,
): AsyncGenerator<StreamPage<E>> {
  return pagesOf(broker, source, filter, { seq: Math.max(1, fromSeq) });
}

async function* eventsOf(pages: AsyncGenerator<EventPage>): AsyncGenerator<StoredEvent[]> {
  for await (const { events } of pages) if (events.length > 0) yield events;
}

type Start = { seq: number } | { start_time: string };

function readPages(
  broker: Broker,
  filter: string,
  start: Start,
  size?: number,
): AsyncGenerator<EventPage> {
  return pagesOf(broker, LEDGER, filter, start, size);
}

async function* pagesOf<E>(
  broker: Broker,
  { stream, decode }: StreamOf<E>,
  filter: string,
  start: Start,
  size?: number,
): AsyncGenerator<StreamPage<E>> {
  for await (const messages of readMessages(broker, stream, filter, start, size)) {
    const events: E[] = [];
    const versions = new Map<string, number>();
    let lastSeq = 0;
    for (const { seq, subject, data } of messages) {
      lastSeq = seq;
      versions.set(subject, seq);
      const decoded = decode(data, seq, subject);
      if (decoded.ok) events.push(decoded.event);
    }
    yield { events, versions, lastSeq };
  }
}

/** A stored message, not looked into. */
export type StoredMessage = { seq: number; subject: string; data: Uint8Array };

/** As `readFrom`, of any stream and as bytes. */
export async function* readMessages(
  broker: Broker,
  stream: string,
  filter: string,
  start: Start,
  size = PAGE,
): AsyncGenerator<StoredMessage[]> {
  let from = start;
  for (;;) {
    const query = { ...from, batch: size, max_bytes: PAGE_BYTES, next_by_subj: filter };
    const { messages, pending } = await ask(broker, () => requestPage(broker, stream, query));
    if (messages.length === 0) return;
    const page = messages.map(({ headers, data }) => ({
      seq: Number(headers?.get('Nats-Sequence')),
      subject: headers?.get('Nats-Subject') ?? '',
      data,
    }));
    yield page;
    if (pending === 0) return;
    from = { seq: (page.at(-1) as StoredMessage).seq + 1 };
  }
}

type Page = { messages: Msg[]; pending: number };

/**
 * One batched direct get (ADR-31). The client library's own keeps a subscription of each call for
 * ever, and waits for ever when the connection breaks in the middle.
 */
function requestPage(broker: Broker, stream: string, query: object): Promise<Page> {
  const { nc } = broker;
  return new Promise<Page>((resolve, reject) => {
    const messages: Msg[] = [];
    const inbox = createInbox(inboxPrefix(nc));
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      subscription.unsubscribe();
      settle();
    };
    const fail = (reason: string, cause?: unknown): void =>
      end(() => reject(brokerUnavailable(reason, cause)));
    const timer = setTimeout(() => fail('no answer in time'), SILENCE_MS);
    const subscription = nc.subscribe(inbox, {
      callback: (error, msg) => {
        if (error !== null) return fail(error.message, error);
        timer.refresh();
        const code = msg.headers?.code ?? 0;
        if (code === 0) return void messages.push(msg);
        if (code === 404) return end(() => resolve({ messages, pending: 0 }));
        if (code !== 204) return fail(`${code} ${msg.headers?.description}`);
        const pending = Number(msg.headers?.get('Nats-Num-Pending') ?? 0);
        return end(() => resolve({ messages, pending }));
      },
    });
    try {
      nc.publish(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify(query), { reply: inbox });
    } catch (error) {
      fail((error as Error).message, error);
    }
  });
}

/** Asks only while there is a connection: the library would hold a request back until it times out. */
function ask<T>(broker: Broker, run: () => Promise<T>): Promise<T> {
  return guarded('read', async () => {
    if (!broker.isConnected()) throw brokerUnavailable('not connected');
    return run();
  });
}

/** Runs a call; a broker that does not answer or refuses becomes DEPENDENCY_UNAVAILABLE. */
export async function guarded<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof AppError) throw error;
    const refused = error instanceof JetStreamError || error instanceof JetStreamApiError;
    if (!refused && !isBrokerUnavailable(error)) throw error;
    const reason = `${what}: ${(error as Error).message}`;
    throw brokerUnavailable(reason, error);
  }
}
