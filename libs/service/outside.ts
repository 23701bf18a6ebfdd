import { type Endpoint, invalid } from '#libs/contracts';
import { type Msg, type MsgHdrs, headers as newHeaders } from 'nats';
import type { Logger } from 'pino';
import { parseJson } from './body.ts';
import { asAppError } from './invoke.ts';
import type { Ctx, Operation, OutsideAnswer, OutsideRequest } from './service.ts';
import { WIRE } from './subjects.ts';

// Contracts that are not ours: bytes in, a status and a body of their own out.

/** Runs the handler of an outside contract; what it throws is told in the contract's words. */
export async function answerOutside(
  operation: Operation,
  request: OutsideRequest,
  ctx: Ctx,
  logger: Logger,
): Promise<OutsideAnswer> {
  const { endpoint } = operation;
  try {
    const known = new Set(endpoint.outside?.headers);
    const headers = (name: string) => (known.has(name) ? ctx.headers(name) : undefined);
    const own: Ctx = {
      requestId: ctx.requestId,
      principal: ctx.principal,
      headers,
      get signal() {
        return ctx.signal;
      },
    };
    return (await operation.handle(request, own)) as OutsideAnswer;
  } catch (error) {
    return outsideFailure(endpoint, error, ctx.requestId, logger, operation);
  }
}

/** The answer for anything thrown, in the words of the contract. */
export function outsideFailure(
  endpoint: Endpoint,
  error: unknown,
  requestId: string,
  logger: Logger,
  operation?: Operation,
): OutsideAnswer {
  const known = asAppError(error, requestId, logger, operation);
  const { status, retryAfterMs } = known;
  const body = endpoint.outside?.errorBody(known);
  if (retryAfterMs === undefined) return { status, body };
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return { status, body, headers: { 'retry-after': String(seconds) } };
}

/** Path parameters and query of an HTTP request; the path goes before the query. */
export function fieldsOf(
  params: Readonly<Record<string, string>>,
  url: string,
): Record<string, string> {
  const fields: Record<string, string> = {};
  const mark = url.indexOf('?');
  if (mark >= 0) {
    for (const [name, value] of new URLSearchParams(url.slice(mark + 1))) {
      if (name !== '__proto__' && !Object.hasOwn(fields, name)) fields[name] = value;
    }
  }
  return Object.assign(fields, params);
}

/** A request as it goes to the process that has the role. */
export function writeRequest(
  endpoint: Endpoint,
  request: OutsideRequest,
  ctx: Ctx,
): { data: Uint8Array; headers: MsgHdrs } {
  const headers = newHeaders();
  for (const name of endpoint.outside?.headers ?? []) {
    const value = ctx.headers(name);
    if (value !== undefined) headers.set(name, value);
  }
  const fields = JSON.stringify(request.fields);
  if (endpoint.method === 'GET') return { data: Buffer.from(fields), headers };
  // Headers hold one line of plain text.
  if (fields !== '{}') headers.set(WIRE.input, encodeURIComponent(fields));
  return { data: request.body, headers };
}

/** A request that came over NATS. @throws {INVALID_JSON} · {INVALID_REQUEST} its parameters */
export function readRequest(
  endpoint: Endpoint,
  data: Uint8Array,
  input: string | undefined,
): OutsideRequest {
  if (endpoint.method === 'GET') return { fields: readFields(data), body: new Uint8Array() };
  return { fields: input === undefined ? {} : readFields(decoded(input)), body: data };
}

function decoded(input: string): Uint8Array {
  try {
    return Buffer.from(decodeURIComponent(input));
  } catch {
    throw invalid(WIRE.input, 'is not an encoded URI component');
  }
}

function readFields(data: Uint8Array): Record<string, string> {
  if (data.length === 0) return {};
  const value = parseJson(data);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('body', 'must be a JSON object of the parameters');
  }
  const entries = Object.entries(value).map(([name, one]: [string, unknown]) => {
    const plain = typeof one === 'string' || typeof one === 'number' || typeof one === 'boolean';
    if (!plain || name === '__proto__')
      throw invalid(name.slice(0, 100), 'must be a text or number');
    return [name, String(one)] as const;
  });
  return Object.fromEntries(entries);
}

/** What the process with the role answered. */
export function readAnswer(msg: Msg): OutsideAnswer {
  const headers: Record<string, string> = {};
  for (const name of msg.headers?.keys() ?? []) {
    if (name !== WIRE.status) headers[name.toLowerCase()] = msg.headers?.get(name) ?? '';
  }
  const status = Number(msg.headers?.get(WIRE.status)) || 200;
  return { status, body: msg.data.length === 0 ? undefined : parseJson(msg.data), headers };
}
