import type { z } from 'zod';
import type { AppError, ErrorCode } from '../errors.ts';
import { LIMITS } from '../limits.ts';

/** The roles a process can play; each has its endpoints, reactors and projections. */
export const ROLES = [
  'gateway',
  'ledger',
  'co',
  'vault',
  'worker',
  'integration',
  'observer',
  'duty-officer',
  'sentinel',
  'learning',
  'missions',
  'projects',
  'outbox',
  'intake',
] as const;
export type Role = (typeof ROLES)[number];

/** What a token must allow. `public` needs none. */
export type Scope = 'public' | 'read' | 'operate' | 'ingest' | 'admin';

/**
 * A contract that is not ours: its path stands at the root of every server that knows the endpoint,
 * the handler gets the bytes of the body, and answers a status and a body as they are, without our
 * envelope. Over NATS the message is the body (for GET: a JSON object of the query), and path and
 * query parameters of other methods are the JSON object in the header `Ironclaw-Input`.
 */
export type Outside = {
  /** Request headers that the handler reads, lower case; others do not reach it. */
  readonly headers: readonly string[];
  /** Shape of the body of errors, for documents. */
  readonly error: z.ZodType;
  /** The body of an error that comes about before the handler, or that it throws. */
  readonly errorBody: (error: AppError) => unknown;
};

/**
 * One operation, told once. From it come the HTTP route, the NATS subject `svc.v1.<role>.<name>`,
 * the OpenAPI entry and the client.
 *
 * `input` is one object: path params, the keys named in `query`, and the rest from the JSON body.
 * Over NATS the same object is the message.
 */
export type Endpoint<I extends z.ZodType = z.ZodType, D extends z.ZodType = z.ZodType> = {
  readonly role: Role;
  /** kebab-case, unique in its role. */
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As `/runs/{run_id}/plan`. */
  readonly path: string;
  readonly summary: string;
  readonly input: I;
  /** Keys of `input` that stand in the query string. */
  readonly query: readonly string[];
  /** `data` of the envelope. */
  readonly data: D;
  /** Status of success, where the handler names no other. */
  readonly status: 200 | 201 | 202;
  /** Codes of its own, beyond those that every endpoint can answer. */
  readonly errors: readonly ErrorCode[];
  readonly scope: Scope;
  readonly maxBodyBytes: number;
  /** A body that is a bare JSON array is read as `{[bareArray]: body}`. */
  readonly bareArray?: string;
  /** True: the handler checks the input itself (`input` is its documentation). */
  readonly rawInput?: true;
  /** `sse`: answers a stream of server-sent events, over HTTP only. */
  readonly live?: 'sse';
  readonly outside?: Outside;
};

/** What a handler of the endpoint gets. */
export type InputOf<E extends Endpoint> = z.output<E['input']>;

type Given<I extends z.ZodType, D extends z.ZodType> = Pick<
  Endpoint<I, D>,
  'role' | 'name' | 'method' | 'path' | 'summary' | 'input' | 'data'
> &
  Partial<Endpoint<I, D>>;

/** What handlers are typed by, kept as literals. */
type Marks = { rawInput?: true; live?: 'sse'; outside?: Outside };

/** Fills in the defaults: POST needs `operate`, others `read`; 200; 1 MiB. */
export function endpoint<I extends z.ZodType, D extends z.ZodType, const M extends Marks>(
  given: Given<I, D> & M,
): Endpoint<I, D> & M {
  return {
    query: [],
    status: 200,
    errors: [],
    scope: given.method === 'GET' ? 'read' : 'operate',
    maxBodyBytes: LIMITS.bodyBytes,
    ...given,
  };
}

/** Codes that any endpoint can answer. */
export const COMMON_ERRORS: readonly ErrorCode[] = [
  'INVALID_JSON',
  'INVALID_REQUEST',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'METHOD_NOT_ALLOWED',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'RATE_LIMITED',
  'INTERNAL',
  'DEPENDENCY_UNAVAILABLE',
];

/** Names of the path params, in order. */
export function pathParams(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string);
}
