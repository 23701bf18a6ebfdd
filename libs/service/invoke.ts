import {
  AppError,
  COMMON_ERRORS,
  checkJson,
  type Endpoint,
  type Envelope,
  errorBody,
  invalid,
  isAppError,
  okBody,
  parse,
} from '#libs/contracts';
import type { Logger } from 'pino';
import { type Ctx, type LiveEvent, type Operation, Reply, type SuccessStatus } from './service.ts';

/** An answer ready to be written: to a socket, to a reply subject, or to a caller in process. */
export type Outcome = {
  status: number;
  body: Envelope<unknown>;
  headers?: Readonly<Record<string, string>>;
};

export type Answered = {
  data: unknown;
  status: SuccessStatus;
  headers?: Readonly<Record<string, string>>;
};

/**
 * Checks the input and runs the handler: the one path of HTTP, NATS and calls in process.
 * @throws {INVALID_REQUEST} the input is not of the endpoint's shape · whatever the handler throws
 */
export async function invoke(operation: Operation, input: unknown, ctx: Ctx): Promise<Answered> {
  const { endpoint } = operation;
  const result = await operation.handle(checkInput(endpoint, input), ctx);
  const chosen = result instanceof Reply;
  const data: unknown = chosen ? result.data : result;
  if (operation.checkData) checkAnswer(endpoint, data);
  const status = (chosen ? result.status : undefined) ?? endpoint.status;
  const headers = chosen ? result.headers : undefined;
  return headers === undefined ? { data, status } : { data, status, headers };
}

/** Checks the input of a live endpoint and opens its stream. */
export async function invokeLive(
  operation: Operation,
  input: unknown,
  ctx: Ctx,
): Promise<AsyncIterable<LiveEvent<unknown>>> {
  const { endpoint } = operation;
  const stream = await operation.handle(checkInput(endpoint, input), ctx);
  if (typeof stream === 'object' && stream !== null && Symbol.asyncIterator in stream) {
    return stream as AsyncIterable<LiveEvent<unknown>>;
  }
  throw new Error(`the handler of ${nameOf(endpoint)} did not return an async iterable`);
}

/** As `invoke`, with every failure turned into an error answer; defects are logged. */
export async function answer(
  operation: Operation,
  input: unknown,
  ctx: Ctx,
  logger: Logger,
): Promise<Outcome> {
  try {
    const { data, status, headers } = await invoke(operation, input, ctx);
    const body = okBody(data);
    return headers === undefined ? { status, body } : { status, body, headers };
  } catch (error) {
    if (ctx.signal.aborted && !isAppError(error)) {
      logger.debug({ err: error, requestId: ctx.requestId }, 'given up with its caller');
      const nobody = new AppError('INTERNAL', { request_id: ctx.requestId }, { cause: error });
      return { status: nobody.status, body: errorBody(nobody) };
    }
    return failure(error, ctx.requestId, logger, operation);
  }
}

/** The error answer for anything thrown. What is not an AppError is a defect: logged, INTERNAL. */
export function failure(
  error: unknown,
  requestId: string,
  logger: Logger,
  operation?: Operation,
): Outcome {
  const known = asAppError(error, requestId, logger, operation);
  const body = errorBody(known);
  const { status, retryAfterMs } = known;
  if (retryAfterMs === undefined) return { status, body };
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return { status, body, headers: { 'retry-after': String(seconds) } };
}

/** The error itself if the catalogue has it; else INTERNAL, with the cause in the log. */
export function asAppError(
  error: unknown,
  requestId: string,
  logger: Logger,
  operation?: Operation,
): AppError {
  const at = operation === undefined ? undefined : nameOf(operation.endpoint);
  const undeclared =
    isAppError(error) && operation?.checkData === true && !declares(operation.endpoint, error);
  if (isAppError(error) && !undeclared) {
    // Expected, and told to the caller; a broker that is away would fill the log with these.
    if (error.status >= 500) {
      logger.debug({ err: error, requestId, endpoint: at }, 'request failed');
    }
    return error;
  }
  logger.error(
    { err: error, requestId, endpoint: at },
    undeclared ? 'the endpoint does not declare this error' : 'unexpected error',
  );
  return new AppError('INTERNAL', { request_id: requestId }, { cause: error });
}

/** `ledger.append` */
function nameOf(endpoint: Endpoint): string {
  return `${endpoint.role}.${endpoint.name}`;
}

function checkInput(endpoint: Endpoint, input: unknown): unknown {
  if (endpoint.rawInput) return input;
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalid('body', 'must be a JSON object');
  }
  checkJson(input, 'body');
  return parse(endpoint.input, input);
}

function checkAnswer(endpoint: Endpoint, data: unknown): void {
  const result = endpoint.data.safeParse(data);
  if (result.success) return;
  throw new Error(`${nameOf(endpoint)} answered what its contract forbids`, {
    cause: result.error,
  });
}

function declares(endpoint: Endpoint, error: AppError): boolean {
  return endpoint.errors.includes(error.code) || COMMON_ERRORS.includes(error.code);
}
