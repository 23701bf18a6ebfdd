import { randomUUID } from 'node:crypto';
import {
  AppError,
  type Endpoint,
  type Envelope,
  errorBody,
  fromErrorBody,
  isAppError,
} from '#libs/contracts';
import type { Broker } from '#libs/broker';
import { errors, type Msg, type MsgHdrs, headers as newHeaders } from 'nats';
import type { Logger } from 'pino';
import { parseJson } from './body.ts';
import { answer, asAppError, failure, invoke, type Outcome } from './invoke.ts';
import { answerOutside, outsideFailure, readAnswer, writeRequest } from './outside.ts';
import type {
  CallData,
  CallInput,
  Ctx,
  Operation,
  OutsideAnswer,
  OutsideRequest,
  Service,
} from './service.ts';
import { subjectOf, WIRE, WIRE_OVERHEAD_BYTES } from './subjects.ts';

export type CallOptions = {
  /** Stops waiting; the other side may still do the work. */
  signal?: AbortSignal;
  /** How long to wait for another process; default the client's. */
  timeoutMs?: number;
  /** Default: a new one. */
  requestId?: string;
  principal?: string | null;
  idempotencyKey?: string;
  /** As the header: what the caller has read last. */
  ifMatch?: string;
};

export type ServiceClient = {
  /**
   * Calls an endpoint wherever its role runs: here, or over NATS.
   * @throws the endpoint's errors · {DEPENDENCY_UNAVAILABLE} no process with the role answered
   */
  call<E extends Endpoint>(
    endpoint: E,
    input: CallInput<E>,
    options?: CallOptions,
  ): Promise<CallData<E>>;
  /** As `call`, for an input that is not checked yet; errors come back as answers. */
  send(endpoint: Endpoint, input: unknown, options?: CallOptions): Promise<Outcome>;
  /** Passes a request under an outside contract on to its role; failures are answers too. */
  pass(endpoint: Endpoint, request: OutsideRequest, ctx: Ctx): Promise<OutsideAnswer>;
};

export type ClientOptions = {
  /** Roles of this process: called directly, through the same checks. */
  local?: readonly Service[];
  /** Default 30 000 ms. An absent role is noticed at once, without this wait. */
  timeoutMs?: number;
  logger: Logger;
};

/** A client for all roles. `broker` may be null where every role called is local. */
export function createClient(broker: Broker | null, options: ClientOptions): ServiceClient {
  const { logger, timeoutMs = 30_000 } = options;
  const local = new Map<string, Operation>();
  for (const service of options.local ?? []) {
    for (const operation of service.operations.values()) {
      local.set(subjectOf(operation.endpoint), operation);
    }
  }
  const ask = (endpoint: Endpoint, input: unknown, requestId: string, given: CallOptions) => {
    if (broker === null) throw unavailable(endpoint, 'this process has no connection to a broker');
    return request(broker, endpoint, input, { timeoutMs, ...given, requestId });
  };
  return {
    async call(endpoint, input, given = {}) {
      const requestId = given.requestId ?? randomUUID();
      const operation = local.get(subjectOf(endpoint));
      if (operation !== undefined) {
        try {
          const { data } = await invoke(operation, input, localCtx(requestId, given));
          return data as CallData<typeof endpoint>;
        } catch (error) {
          if (given.signal?.aborted && !isAppError(error)) throw given.signal.reason;
          throw asAppError(error, requestId, logger, operation);
        }
      }
      const { body } = await ask(endpoint, input, requestId, given);
      if (body.ok) return body.data as CallData<typeof endpoint>;
      throw fromErrorBody(body.error);
    },
    async send(endpoint, input, given = {}) {
      const requestId = given.requestId ?? randomUUID();
      const operation = local.get(subjectOf(endpoint));
      if (operation !== undefined) {
        return answer(operation, input, localCtx(requestId, given), logger);
      }
      try {
        return await ask(endpoint, input, requestId, given);
      } catch (error) {
        return failure(error, requestId, logger);
      }
    },
    async pass(endpoint, given, ctx) {
      const operation = local.get(subjectOf(endpoint));
      if (operation !== undefined) return answerOutside(operation, given, ctx, logger);
      try {
        if (broker === null) throw unavailable(endpoint, 'this process has no broker');
        const { data, headers } = writeRequest(endpoint, given, ctx);
        const options = { timeoutMs, requestId: ctx.requestId, principal: ctx.principal };
        return readAnswer(await exchange(broker, endpoint, data, headers, options));
      } catch (error) {
        return outsideFailure(endpoint, error, ctx.requestId, logger);
      }
    },
  };
}

function localCtx(requestId: string, options: CallOptions): Ctx {
  let own: AbortSignal | undefined;
  return {
    requestId,
    principal: options.principal ?? null,
    get signal() {
      own ??= options.signal ?? new AbortController().signal;
      return own;
    },
    headers: (name) => {
      if (name === 'if-match') return options.ifMatch;
      return name === 'idempotency-key' ? options.idempotencyKey : undefined;
    },
  };
}

type Asked = CallOptions & { timeoutMs: number; requestId: string };

async function request(
  broker: Broker,
  endpoint: Endpoint,
  input: unknown,
  options: Asked,
): Promise<Outcome> {
  const data = Buffer.from(JSON.stringify(input));
  return decode(endpoint, await exchange(broker, endpoint, data, newHeaders(), options));
}

async function exchange(
  broker: Broker,
  endpoint: Endpoint,
  data: Uint8Array,
  headers: MsgHdrs,
  options: Asked,
): Promise<Msg> {
  options.signal?.throwIfAborted();
  // Published while disconnected, it would wait in a buffer and run long after we gave up.
  if (!broker.isConnected()) throw unavailable(endpoint, 'the broker is not connected');
  const limit = (broker.nc.info?.max_payload ?? 1024 * 1024) - WIRE_OVERHEAD_BYTES;
  if (data.length > limit) {
    throw new AppError('PAYLOAD_TOO_LARGE', { what: 'request in bytes', limit }, { field: 'body' });
  }
  headers.set(WIRE.requestId, options.requestId);
  headers.set(WIRE.timeoutMs, String(options.timeoutMs));
  if (options.principal) headers.set(WIRE.principal, options.principal);
  if (options.idempotencyKey) headers.set(WIRE.idempotencyKey, options.idempotencyKey);
  if (options.ifMatch) headers.set(WIRE.ifMatch, options.ifMatch);
  const { timeoutMs } = options;
  const asked = broker.nc.request(subjectOf(endpoint), data, { timeout: timeoutMs, headers });
  try {
    return await untilAborted(asked, options.signal);
  } catch (error) {
    throw describe(endpoint, error, options);
  }
}

function decode(endpoint: Endpoint, msg: Msg): Outcome {
  const body = parseJson(msg.data) as Partial<Envelope<unknown>> | null;
  if (body?.ok === true) {
    const status = Number(msg.headers?.values(WIRE.status)[0]);
    const etag = msg.headers?.values(WIRE.etag)[0];
    const known = { status: status || endpoint.status, body: body as Envelope<unknown> };
    return etag === undefined ? known : { ...known, headers: { etag } };
  }
  if (body?.ok !== false || !body.error) throw new Error('the answer is not an envelope');
  const error = fromErrorBody(body.error);
  const seconds = Math.ceil((error.retryAfterMs ?? 0) / 1000);
  const headers = seconds > 0 ? { headers: { 'retry-after': String(seconds) } } : undefined;
  return { status: error.status, body: errorBody(error), ...headers };
}

function describe(endpoint: Endpoint, error: unknown, options: Asked): unknown {
  if (options.signal?.aborted) return options.signal.reason;
  if (error instanceof errors.RequestError && error.isNoResponders()) {
    return unavailable(endpoint, 'no process with this role is running', error);
  }
  if (error instanceof errors.TimeoutError) {
    return unavailable(endpoint, `no answer within ${options.timeoutMs} ms`, error);
  }
  const reason = error instanceof Error ? error.message : String(error);
  return unavailable(endpoint, reason, error);
}

function unavailable({ role }: Endpoint, reason: string, cause?: unknown): AppError {
  return new AppError('DEPENDENCY_UNAVAILABLE', { dependency: `Role ${role}`, reason }, { cause });
}

async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}
