import { AppError, type Endpoint, errorBody } from '#libs/contracts';
import type { Broker } from '#libs/broker';
import { headers as newHeaders, Match, type Msg, type Subscription } from 'nats';
import type { Logger } from 'pino';
import { parseJson } from './body.ts';
import { answer, failure, type Outcome } from './invoke.ts';
import { answerOutside, outsideFailure, readRequest } from './outside.ts';
import type { Ctx, Operation, OutsideAnswer, Service } from './service.ts';
import { QUEUE_GROUP, subjectOf, WIRE, WIRE_OVERHEAD_BYTES } from './subjects.ts';

export type ServeNatsOptions = {
  logger: Logger;
  /** Requests of one endpoint at once in this process; more are refused. Default 256. */
  maxConcurrent?: number;
  /** How long `close` waits for answers under way; default 5 000 ms. */
  closeGraceMs?: number;
};

export type NatsServer = {
  /** Done once the broker knows the subscriptions, so that no caller meets an absent role. */
  readonly ready: Promise<void>;
  /** Takes no new requests, answers those it has; idempotent. */
  close(): Promise<void>;
};

/**
 * Answers every endpoint but the live ones on `svc.v1.<role>.<name>`: the request is the input as
 * JSON, the answer is the envelope as JSON, with the status in a header. Processes with the same
 * role share the requests.
 */
export function serveNats(
  broker: Broker,
  services: readonly Service[],
  options: ServeNatsOptions,
): NatsServer {
  const inFlight = new Set<Promise<void>>();
  const stop = new AbortController();
  const subscriptions: Subscription[] = [];
  for (const service of services) {
    for (const operation of service.operations.values()) {
      if (operation.endpoint.live !== undefined) continue;
      subscriptions.push(subscribe(broker, operation, { options, inFlight, stop: stop.signal }));
    }
  }
  options.logger.info({ endpoints: subscriptions.length }, 'serving NATS requests');
  let closing: Promise<void> | undefined;
  const ready = broker.nc.flush().catch((error: unknown) => {
    options.logger.warn({ err: error }, 'the broker has not confirmed the subscriptions');
  });
  return {
    ready,
    close() {
      closing ??= closeAll(subscriptions, inFlight, stop, options);
      return closing;
    },
  };
}

type Shared = { options: ServeNatsOptions; inFlight: Set<Promise<void>>; stop: AbortSignal };

function subscribe(broker: Broker, operation: Operation, shared: Shared): Subscription {
  const { logger, maxConcurrent = 256 } = shared.options;
  const subject = subjectOf(operation.endpoint);
  let running = 0;
  let count = 0;
  const callback = (error: Error | null, msg: Msg): void => {
    if (error !== null) return logger.error({ err: error, subject }, 'subscription failed');
    if (msg.reply === undefined || msg.reply === '') {
      return logger.warn({ subject }, 'request without a reply subject ignored');
    }
    count += 1;
    const requestId = header(msg, WIRE.requestId) ?? `${operation.endpoint.name}-${count}`;
    if (running >= maxConcurrent) {
      const busy = new AppError('RATE_LIMITED', {}, { retryAfterMs: 100 });
      return respond(broker, msg, failure(busy, requestId, logger), logger);
    }
    running += 1;
    const work = handle(broker, operation, msg, requestId, shared).finally(() => {
      running -= 1;
      shared.inFlight.delete(work);
    });
    shared.inFlight.add(work);
  };
  return broker.nc.subscribe(subject, { queue: QUEUE_GROUP, callback });
}

async function handle(
  broker: Broker,
  operation: Operation,
  msg: Msg,
  requestId: string,
  shared: Shared,
): Promise<void> {
  const { logger } = shared.options;
  if (operation.endpoint.outside !== undefined) {
    return respond(broker, msg, await takeOutside(operation, msg, requestId, shared), logger);
  }
  try {
    const input = readInput(operation, msg);
    const ctx = natsCtx(msg, requestId, shared.stop);
    respond(broker, msg, await answer(operation, input, ctx, logger), logger);
  } catch (error) {
    // Input that cannot be read, or an answer that cannot be written as JSON.
    respond(broker, msg, failure(error, requestId, logger), logger);
  }
}

async function takeOutside(
  operation: Operation,
  msg: Msg,
  requestId: string,
  shared: Shared,
): Promise<OutsideAnswer> {
  const { endpoint } = operation;
  const { logger } = shared.options;
  try {
    checkSize(endpoint, msg);
    const request = readRequest(endpoint, msg.data, header(msg, WIRE.input));
    return await answerOutside(operation, request, natsCtx(msg, requestId, shared.stop), logger);
  } catch (error) {
    return outsideFailure(endpoint, error, requestId, logger);
  }
}

function checkSize({ maxBodyBytes: limit }: Endpoint, msg: Msg): void {
  if (msg.data.length <= limit) return;
  throw new AppError('PAYLOAD_TOO_LARGE', { what: 'request in bytes', limit }, { field: 'body' });
}

function readInput({ endpoint }: Operation, msg: Msg): unknown {
  checkSize(endpoint, msg);
  const body = msg.data.length === 0 ? {} : parseJson(msg.data);
  const bare = endpoint.bareArray !== undefined && Array.isArray(body);
  return bare ? { [endpoint.bareArray as string]: body } : body;
}

function natsCtx(msg: Msg, requestId: string, stop: AbortSignal): Ctx {
  const receivedMs = performance.now();
  let signal: AbortSignal | undefined;
  return {
    requestId,
    principal: header(msg, WIRE.principal) ?? null,
    get signal() {
      signal ??= callerSignal(msg, receivedMs, stop);
      return signal;
    },
    headers: (name) => header(msg, name),
  };
}

function callerSignal(msg: Msg, receivedMs: number, stop: AbortSignal): AbortSignal {
  const timeoutMs = Number(header(msg, WIRE.timeoutMs));
  if (!Number.isFinite(timeoutMs) || timeoutMs <= 0) return stop;
  const leftMs = Math.max(0, receivedMs + Math.min(timeoutMs, 3_600_000) - performance.now());
  return AbortSignal.any([stop, AbortSignal.timeout(Math.ceil(leftMs))]);
}

function header(msg: Msg, name: string): string | undefined {
  // One that is given twice is joined, as over HTTP.
  const value = msg.headers?.values(name, Match.IgnoreCase).join(', ');
  return value === '' ? undefined : value;
}

function respond(broker: Broker, msg: Msg, outcome: Outcome | OutsideAnswer, logger: Logger): void {
  const limit = (broker.nc.info?.max_payload ?? 1024 * 1024) - WIRE_OVERHEAD_BYTES;
  let { status } = outcome;
  let text = outcome.body === undefined ? '' : JSON.stringify(outcome.body);
  if (Buffer.byteLength(text) > limit) {
    const error = new AppError('PAYLOAD_TOO_LARGE', { what: 'answer in bytes', limit });
    status = error.status;
    text = JSON.stringify(errorBody(error));
  }
  const headers = newHeaders();
  for (const [name, value] of Object.entries(outcome.headers ?? {})) headers.set(name, value);
  headers.set(WIRE.status, String(status));
  const etag = outcome.headers?.etag;
  if (etag !== undefined) headers.set(WIRE.etag, etag);
  try {
    msg.respond(text, { headers });
  } catch (error) {
    // The connection is closed: the caller meets its time-out and asks again.
    logger.warn({ err: error, subject: msg.subject }, 'answer could not be sent');
  }
}

async function closeAll(
  subscriptions: readonly Subscription[],
  inFlight: ReadonlySet<Promise<void>>,
  stop: AbortController,
  { logger, closeGraceMs = 5_000 }: ServeNatsOptions,
): Promise<void> {
  const finish = async (): Promise<void> => {
    await Promise.all(subscriptions.map((subscription) => subscription.drain()));
    await Promise.all(inFlight);
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), closeGraceMs);
  });
  const drained = finish().catch((error: unknown) => {
    logger.warn({ err: error }, 'subscriptions could not be drained');
  });
  if ((await Promise.race([drained, late])) === 'late') {
    logger.warn({ running: inFlight.size }, 'stopped while requests were under way');
  }
  clearTimeout(timer);
  stop.abort();
}
