import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { AppError, type Endpoint, type Scope } from '#libs/contracts';
import type { Context } from 'hono';
import type { Logger } from 'pino';
import { demandScope, type Principal } from './auth.ts';
import { ClientGone, readBody, readJson } from './body.ts';
import { mergeInput } from './input.ts';
import { failure, type Outcome } from './invoke.ts';
import { fieldsOf, outsideFailure } from './outside.ts';
import { type RateClass, rateClass } from './rate-limit.ts';
import type { Ctx, LiveEvent, OutsideAnswer, OutsideRequest } from './service.ts';
import type { LiveStreams } from './sse.ts';
import { markStreaming } from './wire-errors.ts';

/** Where a request ends: a handler of this process, or a role elsewhere. */
export type Target = {
  readonly endpoint: Endpoint;
  readonly run: (input: unknown, ctx: Ctx) => Promise<Outcome>;
  /** Only for outside contracts, in place of `run`. */
  readonly outside?: (request: OutsideRequest, ctx: Ctx) => Promise<OutsideAnswer>;
  /** Only for `live` endpoints. */
  readonly open?: (input: unknown, ctx: Ctx) => Promise<AsyncIterable<LiveEvent<unknown>>>;
};

/** A document that GET answers as it is. */
export type Page = { readonly body: string; readonly headers: Readonly<Record<string, string>> };

/** What stands at one path, by method. */
export type Site = {
  readonly targets: ReadonlyMap<string, Target>;
  readonly allow: string;
  readonly page?: () => Page;
};

export type HttpContext = Context<{ Bindings: HttpBindings }>;

export type Gate = {
  /** Throws if the host or the origin is refused; true for an allowed foreign origin. */
  origin: (host: string | undefined, origin: string | undefined) => boolean;
  /** Undefined: no tokens are configured. */
  authenticate: ((header: string | undefined) => Principal) | undefined;
  /** Undefined: no limits. */
  limit: ((caller: string, kind: RateClass) => void) | undefined;
  live: LiveStreams;
  logger: Logger;
  newRequestId: () => string;
};

type Call = { c: HttpContext; requestId: string; foreignOrigin: string | undefined };

const REQUEST_ID = /^[A-Za-z0-9_.:-]{1,128}$/;

/** Answers one request at `site` (undefined: there is nothing at that path). Never throws. */
export async function dispatch(
  c: HttpContext,
  site: Site | undefined,
  gate: Gate,
): Promise<Response> {
  const { incoming } = c.env;
  const { host, origin, 'x-request-id': given } = incoming.headers;
  const requestId =
    typeof given === 'string' && REQUEST_ID.test(given) ? given : gate.newRequestId();
  const call: Call = { c, requestId, foreignOrigin: undefined };
  const startedMs = gate.logger.isLevelEnabled('debug') ? performance.now() : 0;
  let response: Response;
  try {
    if (gate.origin(host, origin)) call.foreignOrigin = origin;
    if (site === undefined) throw new AppError('NOT_FOUND', { path: c.req.path });
    const { method } = c.req;
    if (method === 'OPTIONS') return options(call, site);
    const wanted = method === 'HEAD' ? 'GET' : method;
    if (site.page !== undefined && wanted === 'GET') {
      const { body, headers: own } = site.page();
      return new Response(body, { headers: { ...baseHeaders(call), ...own } });
    }
    const target = site.targets.get(wanted);
    if (target === undefined) {
      throw new AppError('METHOD_NOT_ALLOWED', { method, allowed: site.allow });
    }
    response =
      target.outside === undefined
        ? await perform(call, target, gate)
        : await performOutside(call, target, target.outside, gate);
  } catch (error) {
    if (error instanceof ClientGone) {
      gate.logger.debug({ requestId }, 'the client went away');
      return new Response(null, { status: 400 });
    }
    const outcome = failure(error, requestId, gate.logger);
    const headers = { ...outcome.headers, ...errorHeaders(outcome.status, site) };
    response = respond(call, { ...outcome, headers });
  }
  if (startedMs !== 0) {
    const { method, path } = c.req;
    const durationMs = Math.round((performance.now() - startedMs) * 100) / 100;
    gate.logger.debug({ requestId, method, path, status: response.status, durationMs }, 'request');
  }
  return response;
}

/** Headers that HTTP asks for with a status. */
function errorHeaders(status: number, site: Site | undefined): Record<string, string> {
  if (status === 405) return { allow: site?.allow ?? '' };
  return status === 401 ? { 'www-authenticate': 'Bearer' } : {};
}

async function perform(call: Call, target: Target, gate: Gate): Promise<Response> {
  const { incoming } = call.c.env;
  const { endpoint } = target;
  const principal = admit(endpoint.scope, incoming, gate);
  const caller = principal?.name ?? incoming.socket.remoteAddress ?? '';
  gate.limit?.(caller, rateClass(endpoint));
  const body =
    endpoint.method === 'GET' ? undefined : await readJson(incoming, endpoint.maxBodyBytes);
  const url = incoming.url ?? '';
  const mark = url.indexOf('?');
  const search = mark === -1 ? '' : url.slice(mark + 1);
  const input = mergeInput(endpoint, call.c.req.param(), search, body);
  const name = principal?.name ?? null;
  if (endpoint.live === undefined) {
    const outcome = await target.run(input, httpCtx(call, name));
    return respond(call, outcome);
  }
  return stream(call, target, input as Record<string, unknown>, name, gate);
}

/** As `perform`, with every failure told in the contract's own words. */
async function performOutside(
  call: Call,
  { endpoint }: Target,
  run: NonNullable<Target['outside']>,
  gate: Gate,
): Promise<Response> {
  const { incoming } = call.c.env;
  // Only reads are for pages of other origins.
  if (endpoint.method !== 'GET') call.foreignOrigin = undefined;
  let answered: OutsideAnswer;
  try {
    const principal = admit(endpoint.scope, incoming, gate);
    const caller = principal?.name ?? incoming.socket.remoteAddress ?? '';
    gate.limit?.(caller, rateClass(endpoint));
    const body = await readBody(incoming, endpoint.maxBodyBytes);
    const fields = fieldsOf(call.c.req.param(), incoming.url ?? '');
    answered = await run({ fields, body }, httpCtx(call, principal?.name ?? null));
  } catch (error) {
    if (error instanceof ClientGone) throw error;
    answered = outsideFailure(endpoint, error, call.requestId, gate.logger);
  }
  const { status, body, headers } = answered;
  const all = { ...baseHeaders(call), ...errorHeaders(status, undefined), ...headers };
  if (body === undefined) return new Response(null, { status, headers: all });
  const typed = { 'content-type': 'application/json', ...all };
  return new Response(JSON.stringify(body), { status, headers: typed });
}

function admit(scope: Scope, incoming: IncomingMessage, gate: Gate): Principal | undefined {
  if (gate.authenticate === undefined || scope === 'public') return undefined;
  const principal = gate.authenticate(incoming.headers.authorization);
  demandScope(principal, scope);
  return principal;
}

async function stream(
  call: Call,
  target: Target,
  input: Record<string, unknown>,
  principal: string | null,
  gate: Gate,
): Promise<Response> {
  if (target.open === undefined) throw new Error(`${target.endpoint.name} cannot be streamed`);
  if (call.c.req.method === 'HEAD') {
    return new Response(null, {
      headers: { ...baseHeaders(call), 'content-type': 'text/event-stream; charset=utf-8' },
    });
  }
  const { incoming } = call.c.env;
  const outgoing = call.c.env.outgoing as ServerResponse;
  gate.live.admit(outgoing);
  markStreaming(incoming.socket);
  const last = incoming.headers['last-event-id'];
  // A browser that resumes repeats its first URL, so the header is the newer of the two.
  const resumes = target.endpoint.query.includes('last_event_id') && typeof last === 'string';
  const given = resumes && last !== '' ? { ...input, last_event_id: last } : input;
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  outgoing.once('close', abort);
  const events = await target.open(given, { ...httpCtx(call, principal), signal: stop.signal });
  await gate.live.serve(events, outgoing, {
    headers: baseHeaders(call),
    abort,
    describe: (error) => failure(error, call.requestId, gate.logger).body,
  });
  return RESPONSE_ALREADY_SENT;
}

function httpCtx(call: Call, principal: string | null): Ctx {
  const { c, requestId } = call;
  return {
    requestId,
    principal,
    get signal() {
      return c.req.raw.signal;
    },
    headers(name) {
      const value = c.env.incoming.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
  };
}

function respond(call: Call, outcome: Outcome): Response {
  const headers = baseHeaders(call);
  headers['content-type'] = 'application/json';
  if (outcome.headers !== undefined) Object.assign(headers, outcome.headers);
  return new Response(JSON.stringify(outcome.body), { status: outcome.status, headers });
}

function baseHeaders(call: Call): Record<string, string> {
  const headers: Record<string, string> = {
    'x-request-id': call.requestId,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
  if (call.foreignOrigin !== undefined) {
    headers['access-control-allow-origin'] = call.foreignOrigin;
    headers['access-control-expose-headers'] = 'etag, x-request-id, retry-after';
    headers.vary = 'Origin';
  }
  return headers;
}

function options(call: Call, site: Site): Response {
  const headers = baseHeaders(call);
  headers.allow = site.allow;
  if (call.foreignOrigin !== undefined) {
    headers['access-control-allow-methods'] = site.allow;
    headers['access-control-allow-headers'] =
      'authorization, content-type, idempotency-key, if-match, last-event-id, x-request-id';
    headers['access-control-max-age'] = '600';
  }
  return new Response(null, { status: 204, headers });
}
