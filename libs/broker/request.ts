import { createInbox, headers as natsHeaders } from 'nats';
import type { Broker } from './connect.ts';

export type AnswerRequest<T> = {
  subject: string;
  data: string;
  headers: Readonly<Record<string, string>>;
  timeoutMs: number;
  /** Gives it up. */
  signal: AbortSignal;
  /** Reads the answer. */
  read: (text: string, header: (name: string) => string | undefined) => T;
  /** What stands for no answer. */
  failed: (reason: string) => T;
};

/** A request with headers that can be given up, where no answer is an outcome too. Never rejects. */
export function requestAnswer<T>(broker: Broker, request: AnswerRequest<T>): Promise<T> {
  const { nc } = broker;
  const { signal, timeoutMs } = request;
  return new Promise<T>((resolve) => {
    const inbox = createInbox(inboxPrefix(broker));
    const end = (value: T): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      subscription.unsubscribe();
      resolve(value);
    };
    const fail = (reason: string): void => end(request.failed(reason));
    const abort = (): void => fail('it was given up');
    const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs);
    const subscription = nc.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null) return fail(error.message);
        if (message.headers?.code === 503) return fail('nobody listens');
        const header = (name: string) => message.headers?.get(name) || undefined;
        end(request.read(message.string(), header));
      },
    });
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) return abort();
    try {
      const headers = natsHeaders();
      for (const [name, value] of Object.entries(request.headers)) headers.set(name, value);
      nc.publish(request.subject, request.data, { reply: inbox, headers });
    } catch (error) {
      fail((error as Error).message);
    }
  });
}

/** The reply prefix that this connection has permission for; the library's type hides its options. */
function inboxPrefix({ nc }: Broker): string | undefined {
  return (nc as Broker['nc'] & { options?: { inboxPrefix?: string } }).options?.inboxPrefix;
}
