import type { Endpoint, Outside, Role } from '#libs/contracts';
import type { z } from 'zod';

/** What a handler knows about one call, beyond its input. */
export type Ctx = {
  /** Aborted when the caller is gone or its time is over. Made on first use. */
  readonly signal: AbortSignal;
  readonly requestId: string;
  /** Name of the token that was used; null where no tokens are configured. */
  readonly principal: string | null;
  /** A request header by its lower-case name, as `idempotency-key`. */
  headers(name: string): string | undefined;
};

export type SuccessStatus = 200 | 201 | 202;

/** An answer that chooses its status or adds headers; made by `reply`. */
export class Reply<T> {
  readonly data: T;
  readonly status: SuccessStatus | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;

  constructor(data: T, status?: SuccessStatus, headers?: Readonly<Record<string, string>>) {
    this.data = data;
    this.status = status;
    this.headers = headers;
  }
}

/** Answers `data` with another status than the endpoint's own, or with response headers. */
export function reply<T>(
  data: T,
  options: { status?: SuccessStatus; headers?: Readonly<Record<string, string>> } = {},
): Reply<T> {
  return new Reply(data, options.status, options.headers);
}

/** One server-sent event; `id` is what a client resumes from. */
export type LiveEvent<T> = { id: string | number; event?: string; data: T };

export type InputOf<E extends Endpoint> = E extends { rawInput: true }
  ? unknown
  : z.output<E['input']>;

/** What a caller gives. */
export type CallInput<E extends Endpoint> = z.input<E['input']>;
/** What a caller gets. */
export type CallData<E extends Endpoint> = z.output<E['data']>;

/** A request under a contract that is not ours. */
export type OutsideRequest = {
  /** Path and query parameters; of a repeated one the first. */
  readonly fields: Readonly<Record<string, string>>;
  /** The bytes of the body; empty where there is none. */
  readonly body: Uint8Array;
};

/** What is answered as it is: `body` as JSON, undefined for none. */
export type OutsideAnswer = {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};

type Outsider = (request: OutsideRequest, ctx: Ctx) => Promise<OutsideAnswer>;

type Answer<E extends Endpoint> = Promise<z.input<E['data']> | Reply<z.input<E['data']>>>;
type Live<E extends Endpoint> =
  | AsyncIterable<LiveEvent<z.input<E['data']>>>
  | Promise<AsyncIterable<LiveEvent<z.input<E['data']>>>>;

/**
 * Answers one endpoint. A `live` endpoint returns an async iterable (or a promise of one, so that
 * it can refuse before the stream opens) and must end when `ctx.signal` is aborted.
 */
export type Handler<E extends Endpoint> = E extends { outside: Outside }
  ? Outsider
  : (
      input: InputOf<E>,
      ctx: Ctx,
    ) => E extends { live: 'sse' }
      ? Live<E>
      : 'sse' extends E['live']
        ? Answer<E> | Live<E>
        : Answer<E>;

export type Endpoints = Readonly<Record<string, Endpoint>>;
export type Handlers<R extends Endpoints> = { readonly [K in keyof R]: Handler<R[K]> };

/** An endpoint with the handler that answers it. */
export type Operation = {
  readonly endpoint: Endpoint;
  readonly handle: (input: unknown, ctx: Ctx) => unknown;
  readonly checkData: boolean;
};

/** The endpoints of one role with their handlers, ready for HTTP, NATS and calls in process. */
export type Service = {
  readonly role: Role;
  /** By endpoint name. */
  readonly operations: ReadonlyMap<string, Operation>;
};

/**
 * Joins the endpoints of a role to their handlers.
 * @param options `checkData`: also check every answer and error code against the contract, as
 *   tests do; default false
 */
export function defineService<R extends Endpoints>(
  endpoints: R,
  handlers: Handlers<R>,
  options: { checkData?: boolean } = {},
): Service {
  const operations = new Map<string, Operation>();
  let role: Role | undefined;
  for (const [key, endpoint] of Object.entries(endpoints)) {
    if (role !== undefined && endpoint.role !== role) {
      throw new Error(`${key} belongs to ${endpoint.role}, not to ${role}`);
    }
    role = endpoint.role;
    const handle = handlers[key] as Operation['handle'];
    operations.set(endpoint.name, { endpoint, handle, checkData: options.checkData ?? false });
  }
  if (role === undefined) throw new Error('a service needs at least one endpoint');
  return { role, operations };
}
