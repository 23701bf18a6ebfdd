import type { ServerResponse } from 'node:http';
import { AppError, LIMITS } from '#libs/contracts';
import type { LiveEvent } from './service.ts';

export type LiveOptions = {
  /** Streams open at once; default LIMITS.liveStreams. */
  maxStreams?: number;
  /** A comment is sent this often, so that proxies keep the connection; default 15 000 ms. */
  keepAliveMs?: number;
  /** A client that takes no bytes for this long is closed; default 10 000 ms. */
  stallMs?: number;
};

/** The live streams of one server. */
export type LiveStreams = {
  /** @throws {RATE_LIMITED} as many streams as there may be are open */
  admit(outgoing: ServerResponse): void;
  /** Writes the events until they end, the client goes, or it reads too slowly. Never throws. */
  serve(
    stream: AsyncIterable<LiveEvent<unknown>>,
    outgoing: ServerResponse,
    live: Live,
  ): Promise<void>;
  /** Cuts all of them off; browsers come back by themselves. */
  closeAll(): void;
};

type Live = {
  headers: Readonly<Record<string, string>>;
  /** Tells the source to stop. */
  abort: () => void;
  /** The text of the closing `error` event, if the source fails. */
  describe: (error: unknown) => unknown;
};

const RETRY_MS = 1_000;

export function liveStreams(options: LiveOptions = {}): LiveStreams {
  const { maxStreams = LIMITS.liveStreams, keepAliveMs = 15_000, stallMs = 10_000 } = options;
  const open = new Set<ServerResponse>();
  return {
    admit(outgoing) {
      if (open.size >= maxStreams) throw new AppError('RATE_LIMITED', {}, { retryAfterMs: 5_000 });
      open.add(outgoing);
      outgoing.once('close', () => open.delete(outgoing));
    },
    async serve(stream, outgoing, live) {
      let writing = false;
      const keepAlive = setInterval(() => {
        // Something waits already: the client hears of us, or is about to be closed.
        if (!writing) outgoing.write(': keep-alive\n\n');
      }, keepAliveMs);
      const send = async (text: string): Promise<void> => {
        writing = true;
        if (!outgoing.write(text)) await drained(outgoing, stallMs);
        writing = false;
      };
      try {
        outgoing.writeHead(200, {
          ...live.headers,
          'content-type': 'text/event-stream; charset=utf-8',
          'x-accel-buffering': 'no',
        });
        await send(`retry: ${RETRY_MS}\n\n`);
        for await (const event of untilClosed(stream, outgoing)) await send(encode(event));
      } catch (error) {
        if (!outgoing.destroyed) {
          const text = JSON.stringify(live.describe(error));
          outgoing.write(`event: error\ndata: ${text}\n\n`);
        }
      } finally {
        clearInterval(keepAlive);
        live.abort();
        outgoing.end();
      }
    },
    closeAll() {
      for (const outgoing of open) outgoing.destroy();
    },
  };
}

/** One event in the format of server-sent events. */
function encode(event: LiveEvent<unknown>): string {
  const name = event.event === undefined ? '' : `event: ${oneLine(event.event)}\n`;
  return `id: ${oneLine(String(event.id))}\n${name}data: ${JSON.stringify(event.data)}\n\n`;
}

function oneLine(text: string): string {
  return text.replace(/[\r\n\0]/g, ' ');
}

/** Waits until the client has taken what was written; one that does not is cut off. */
function drained(outgoing: ServerResponse, stallMs: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      outgoing.off('drain', done).off('close', done);
      resolve();
    };
    const timer = setTimeout(() => outgoing.destroy(), stallMs);
    outgoing.on('drain', done).on('close', done);
    if (outgoing.destroyed) done();
  });
}

/** The events of `stream` until `outgoing` closes, without waiting for an event to notice. */
async function* untilClosed<T>(
  stream: AsyncIterable<T>,
  outgoing: ServerResponse,
): AsyncGenerator<T> {
  const source = stream[Symbol.asyncIterator]();
  let wake: (() => void) | undefined;
  outgoing.once('close', () => wake?.());
  try {
    while (!outgoing.destroyed) {
      // A new promise each time: racing against one that lives long would collect reactions.
      const next = await new Promise<IteratorResult<T> | undefined>((resolve, reject) => {
        wake = () => resolve(undefined);
        source.next().then(resolve, reject);
      });
      if (next === undefined || next.done) return;
      yield next.value;
    }
  } finally {
    // Not awaited: a source that waits for an event ends only once its signal is aborted.
    void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}
