import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Endpoint,
  type Envelope,
  fromErrorBody,
  parse,
  pathParams,
  type StoredEvent,
} from '#libs/contracts';
import type { CallData, CallInput } from '#libs/service';
import { unreachable } from './failure.ts';
import { readServerEvents } from './server-events.ts';

export type Client = {
  readonly url: string;
  /**
   * Calls an endpoint over HTTP.
   * @throws the endpoint's errors · {Failure} with exit code 3: nothing answers at the URL
   */
  call<E extends Endpoint>(
    endpoint: E,
    input: CallInput<E>,
    options?: CallOptions,
  ): Promise<CallData<E>>;
  /** Events as they land, again from the last one seen when the connection breaks. */
  follow<E extends Endpoint>(
    endpoint: E,
    input: CallInput<E>,
    signal: AbortSignal,
  ): AsyncGenerator<StoredEvent>;
};

export type CallOptions = { timeoutMs?: number };

const TIMEOUT_MS = 30_000;
const RECONNECT_MS = 300;
/** So long a lost stream is tried again before it is given up. */
const LOST_MS_MAX = 20_000;

/** A client of a running system; with `token` it says who it is. */
export function createClient(baseUrl: string, token: string | undefined): Client {
  const url = baseUrl.replace(/\/+$/, '');
  const authorization = token === undefined ? undefined : { authorization: `Bearer ${token}` };

  const send = async (
    endpoint: Endpoint,
    input: unknown,
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<Response> => {
    const { address, body } = toRequest(url, endpoint, input);
    try {
      return await fetch(address, {
        method: endpoint.method,
        headers: { ...authorization, ...headers },
        signal,
        ...(body !== undefined && { body }),
      });
    } catch (error) {
      if ((error as Error).name === 'AbortError') throw error;
      throw unreachable(`IronClaw at ${url}`, networkReason(error), error);
    }
  };

  return {
    url,
    async call(endpoint, input, { timeoutMs = TIMEOUT_MS } = {}) {
      const type = { 'content-type': 'application/json' };
      const response = await send(endpoint, input, AbortSignal.timeout(timeoutMs), type);
      const body = await readEnvelope(url, response);
      if (body.ok) return body.data as CallData<typeof endpoint>;
      throw fromErrorBody(body.error);
    },

    async *follow(endpoint, input, signal) {
      let last: string | undefined;
      let lostAt: number | undefined;
      while (!signal.aborted) {
        try {
          const resume = last === undefined ? undefined : { 'last-event-id': last };
          const response = await send(endpoint, input, signal, resume);
          if (!response.ok || response.body === null) {
            const body = await readEnvelope(url, response);
            throw body.ok ? new Error('the stream is not one') : fromErrorBody(body.error);
          }
          lostAt = undefined;
          for await (const { id, data } of readServerEvents(response.body)) {
            last = id;
            yield data as StoredEvent;
          }
        } catch (error) {
          if (signal.aborted) return;
          // Only what had begun is taken up again: a wrong URL is told at once.
          if (last === undefined) throw error;
          lostAt ??= performance.now();
          if (performance.now() - lostAt > LOST_MS_MAX) throw error;
        }
        await sleep(RECONNECT_MS);
      }
    },
  };
}

/** Where an endpoint is reached under any way of serving it: below the name of its role. */
function toRequest(
  url: string,
  endpoint: Endpoint,
  input: unknown,
): { address: string; body: string | undefined } {
  // Checked here as there, so that a wrong argument is told without a running system.
  parse(endpoint.input, input);
  const rest = { ...(input as Record<string, string | number | undefined>) };
  let path = `/${endpoint.role}${endpoint.path}`;
  for (const name of pathParams(endpoint.path)) {
    path = path.replace(`{${name}}`, encodeURIComponent(String(rest[name])));
    delete rest[name];
  }
  const query = new URLSearchParams();
  for (const name of endpoint.query) {
    if (rest[name] !== undefined) query.set(name, String(rest[name]));
    delete rest[name];
  }
  const search = query.size > 0 ? `?${query.toString()}` : '';
  const body = endpoint.method === 'POST' ? JSON.stringify(rest) : undefined;
  return { address: `${url}${path}${search}`, body };
}

async function readEnvelope(url: string, response: Response): Promise<Envelope<unknown>> {
  let value: unknown;
  try {
    value = await response.json();
  } catch (error) {
    throw unreachable(`IronClaw at ${url}`, `it answered ${response.status} without JSON`, error);
  }
  const body = value as Partial<Envelope<unknown>> | null;
  if (body?.ok === true || (body?.ok === false && body.error)) return body as Envelope<unknown>;
  throw unreachable(`IronClaw at ${url}`, 'what answers there is not IronClaw');
}

function networkReason(error: unknown): string {
  const { name, message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
  if (name === 'TimeoutError') return 'no answer in time';
  return cause?.code ?? cause?.message ?? message;
}
