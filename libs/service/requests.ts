import type { Broker } from '#libs/broker';
import { headers as newHeaders, Match, type Msg, type MsgHdrs } from 'nats';
import type { Logger } from 'pino';
import { WIRE } from './subjects.ts';

/** A request on a subject that is not one of our endpoints'. */
export type SubjectRequest = {
  subject: string;
  data: Uint8Array;
  /** A header by its name in any case; one that is given twice is joined, as over HTTP. */
  header: (name: string) => string | undefined;
};

export type AnswerOptions = {
  subjects: readonly string[];
  /** Processes with this name share the requests. */
  queue: string;
  /** Answers one request; `busy`: as many as there may be are under way. Must not reject. */
  answer(request: SubjectRequest, busy: boolean): Promise<{ status: number; body: unknown }>;
  /** Requests at work at once in this process. */
  maxConcurrent: number;
  logger: Logger;
};

export type Answering = { stop(): Promise<void> };

/** Answers requests as JSON, with the status in a header; a message without a reply is taken too. */
export function answerSubjects(broker: Broker, options: AnswerOptions): Answering {
  const { logger } = options;
  const running = new Set<Promise<void>>();
  const take = async (msg: Msg): Promise<void> => {
    const busy = running.size > options.maxConcurrent;
    const header = (name: string) => joinedHeader(msg.headers, name);
    const { status, body } = await options.answer(
      { subject: msg.subject, data: msg.data, header },
      busy,
    );
    if (msg.reply === undefined || msg.reply === '') return;
    const headers = newHeaders();
    headers.set(WIRE.status, String(status));
    msg.respond(JSON.stringify(body), { headers });
  };
  const subscriptions = options.subjects.map((subject) =>
    broker.nc.subscribe(subject, {
      queue: options.queue,
      callback: (error, msg) => {
        if (error !== null) return logger.error({ err: error, subject }, 'subscription failed');
        const work = take(msg)
          // The connection is closed: the caller meets its time-out and asks again.
          .catch((cause: unknown) =>
            logger.warn({ err: cause, subject }, 'no answer could be sent'),
          )
          .finally(() => running.delete(work));
        running.add(work);
      },
    }),
  );
  return {
    async stop() {
      await Promise.all(subscriptions.map((subscription) => subscription.drain()));
      await Promise.all(running);
    },
  };
}

/** All values of a header, joined by commas; undefined: it is not there. */
export function joinedHeader(headers: MsgHdrs | undefined, name: string): string | undefined {
  const values = headers?.values(name, Match.IgnoreCase) ?? [];
  return values.length === 0 ? undefined : values.join(', ');
}
