import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { headers as natsHeaders } from 'nats';
import { type Ack, type Oracle, rawEvents, type SentEvent } from './oracle.ts';
import type { Chat } from './schedule.ts';
import { type DeliveryWay, envelopeOf, headersOf } from './signed.ts';

type Body = {
  ok: boolean;
  data: unknown;
  error: { code: string; message: string } | null;
  /** Of the contract of signed deliveries alone. */
  status?: string;
};
type Answer = { status: number; body: Body };

/** How the outside world speaks with the system: it asks again until it is told. */
export type Client = {
  chat(chat: Chat): Promise<void>;
  cancel(requestId: string): Promise<void>;
  append(kind: 'event' | 'batch', id: string): Promise<void>;
  publish(id: string, wellFormed: boolean): Promise<void>;
  /** A signed milestone under the key `id`. */
  deliver(id: string, way: DeliveryWay, forged: boolean): Promise<void>;
  /** One request, whatever comes back; undefined: nothing did. */
  request(method: string, path: string, body?: unknown): Promise<Answer | undefined>;
};

export type ClientOptions = {
  url: string;
  broker: Broker;
  garrison: string;
  oracle: Oracle;
  /** Aborted when it is no use to ask again. */
  signal: AbortSignal;
};

const TIMEOUT_MS = 10_000;
const RETRY_MS = 300;

export function createClient({ url, broker, garrison, oracle, signal }: ClientOptions): Client {
  const request = async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ) => {
    try {
      const response = await fetch(url + path, {
        method,
        ...(body !== undefined && {
          body: JSON.stringify(body),
          headers: { 'content-type': 'application/json', ...headers },
        }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      return { status: response.status, body: (await response.json()) as Body };
    } catch {
      // No answer: nobody listens, or the connection broke. What happened is not known.
      return undefined;
    }
  };

  /** Asks until there is an answer that waiting would not change; undefined: the time is over. */
  const persist = async (
    method: string,
    path: string,
    body: unknown,
    headers: () => Record<string, string> = () => ({}),
  ) => {
    while (!signal.aborted) {
      const answer = await request(method, path, body, headers());
      if (answer !== undefined && answer.status < 500 && answer.status !== 429) return answer;
      await sleep(RETRY_MS + Math.random() * RETRY_MS);
    }
    return undefined;
  };

  /** Publishes until it is stored; false: the time is over. */
  const enqueue = async (
    subject: string,
    bytes: string,
    headers: () => Record<string, string> = () => ({}),
  ): Promise<boolean> => {
    while (!signal.aborted) {
      const own = natsHeaders();
      for (const [name, value] of Object.entries(headers())) own.set(name, value);
      try {
        await broker.js.publish(subject, bytes, { timeout: 3_000, headers: own });
        return true;
      } catch {
        // The broker is away, or its answer was lost: then these bytes are there twice.
        await sleep(RETRY_MS);
      }
    }
    return false;
  };

  return {
    request,
    chat: async (chat) => {
      const known = oracle.chats.get(chat.requestId) ?? { chat, acks: [], refusals: [] };
      oracle.chats.set(chat.requestId, known);
      const { requestId: request_id, theater: theater_hint, playbook, message } = chat;
      const body = { request_id, theater_hint, playbook, message, mode: 'async' };
      const answer = await persist('POST', '/chat', body);
      if (answer === undefined) return;
      const { run_id } = (answer.body.data ?? {}) as { run_id?: string };
      if (answer.body.ok && run_id !== undefined) known.acks.push(run_id);
      else known.refusals.push(`${answer.status} ${answer.body.error?.code}`);
    },
    cancel: async (requestId) => {
      const runId = oracle.chats.get(requestId)?.acks[0];
      if (runId === undefined) return;
      const answer = await persist('POST', `/runs/${runId}/cancel`, { reason: 'chaos' });
      // Refused: the run had ended by then.
      if (answer?.body.ok) oracle.cancelled.add(runId);
    },
    append: async (kind, id) => {
      const events = sentBefore(oracle, kind, id, garrison);
      const single = kind === 'event';
      const body = single ? events[0] : { events };
      const answer = await persist(
        'POST',
        single ? '/ledger/events' : '/ledger/events/batch',
        body,
      );
      if (answer === undefined) return;
      const acks = single
        ? [answer.body.data]
        : (answer.body.data as { events: unknown[] })?.events;
      for (const [index, { event_id }] of events.entries()) {
        const known = oracle.appends.get(event_id);
        if (answer.body.ok) known?.acks.push((acks as Ack[])[index] as Ack);
        else known?.refusals.push(`${answer.status} ${answer.body.error?.code}`);
      }
    },
    publish: async (id, wellFormed) => {
      const known = oracle.queued.get(id) ?? {
        event: wellFormed ? (rawEvents('event', id, garrison)[0] as SentEvent) : null,
        acks: 0,
      };
      oracle.queued.set(id, known);
      const bytes = known.event === null ? `{"no JSON": ${id}` : JSON.stringify(known.event);
      if (await enqueue('intake.v1.events', bytes)) known.acks += 1;
    },
    deliver: async (id, way, forged) => {
      const made = { envelope: envelopeOf(id), way, forged, answers: [] };
      const known = oracle.deliveries.get(id) ?? made;
      oracle.deliveries.set(id, known);
      const { envelope, answers } = known;
      const headers = () => headersOf(envelope, forged);
      if (way === 'queue') {
        const bytes = JSON.stringify(envelope);
        if (await enqueue('signed.v1.queue.milestones', bytes, headers)) answers.push('queued');
        return;
      }
      const answer = await persist('POST', '/internal/milestones/ingest', envelope, headers);
      if (answer !== undefined) answers.push(`${answer.status} ${answer.body.status}`);
    },
  };
}

function sentBefore(oracle: Oracle, kind: 'event' | 'batch', id: string, garrison: string) {
  return rawEvents(kind, id, garrison).map((made) => {
    const known = oracle.appends.get(made.event_id) ?? { event: made, acks: [], refusals: [] };
    oracle.appends.set(made.event_id, known);
    return known.event;
  });
}
