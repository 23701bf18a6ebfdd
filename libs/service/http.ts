import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener, type HttpBindings, RequestError } from '@hono/node-server';
import {
  AppError,
  checkJson,
  ENDPOINTS,
  type Endpoint,
  errorBody,
  invalid,
  LIMITS,
} from '#libs/contracts';
import { Hono } from 'hono';
import type { Logger } from 'pino';
import { type Auth, authenticator } from './auth.ts';
import type { ServiceClient } from './client.ts';
import { dispatch, type Gate, type HttpContext, type Site, type Target } from './dispatch.ts';
import { documentPages } from './documents.ts';
import { isLoopback, originGuard } from './guard.ts';
import { answer, asAppError, invokeLive } from './invoke.ts';
import { answerOutside } from './outside.ts';
import { DEFAULT_RATES, type RateClass, type Rates, rateLimiter } from './rate-limit.ts';
import { type Mount, mountEndpoints } from './routes.ts';
import type { Operation, Service } from './service.ts';
import { type LiveOptions, liveStreams } from './sse.ts';
import { answerBrokenRequest } from './wire-errors.ts';

export type ServeHttpOptions = {
  services: readonly Service[];
  /** `gateway` also serves the roles that run elsewhere; it needs `router`. */
  mount: Mount;
  /** Default 127.0.0.1. */
  host?: string;
  /** 0: any free one. */
  port: number;
  /** Null: no tokens; only on a loopback address. */
  auth: Auth | null;
  logger: Logger;
  /** Of the program, for documents. */
  version: string;
  /** False: none. Classes that are not named keep their default. */
  rateLimits?: Partial<Record<RateClass, Rates[RateClass]>> | false;
  /** Reaches the roles that are not in this process. */
  router?: ServiceClient;
  /** Names by which clients may call this server beyond its address and localhost. */
  allowedHosts?: readonly string[];
  /** Origins of other sites whose pages may call it. */
  allowedOrigins?: readonly string[];
  live?: LiveOptions;
  /** How long a whole request may take to arrive; default 30 000 ms. */
  requestTimeoutMs?: number;
  /** How long `close` waits for answers under way; default 5 000 ms. */
  closeGraceMs?: number;
};

export type HttpServer = {
  /** As `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly port: number;
  /** Stops listening, ends live streams, lets other answers finish; idempotent. */
  close(): Promise<void>;
};

type HonoEnv = { Bindings: HttpBindings };

/** What is passed on is bounded by its bytes; the role checks the parts by its own limits. */
const PASSED_ON = { depth: 2 * LIMITS.jsonDepth, nodes: LIMITS.batchBodyBytes };
const HEADER_BYTES_MAX = 16 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 65_000;
const CONNECTIONS_MAX = 4_096;

/**
 * Serves the endpoints over HTTP, with /openapi.json and /docs.
 * @throws {FORBIDDEN} an address beyond loopback without tokens
 * @throws {ALREADY_RUNNING} the port is taken
 */
export async function serveHttp(options: ServeHttpOptions): Promise<HttpServer> {
  const { host = '127.0.0.1', logger } = options;
  refuseOpenDoor(host, options.auth);
  const gate = makeGate(options, host);
  const app = makeApp(options, gate);
  const requestTimeoutMs = options.requestTimeoutMs ?? 30_000;
  const listener = getRequestListener(app.fetch, {
    hostname: 'localhost',
    errorHandler: (error) => badRequest(error, gate),
  });
  // It answers its own failures; the promise tells only that the answer is out.
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    void listener(incoming, outgoing);
  };
  const server = createServer(
    {
      requestTimeout: requestTimeoutMs,
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
      // Node would answer 400 with an empty body; the guard answers with an envelope.
      requireHostHeader: false,
      noDelay: true,
    },
    onRequest,
  );
  // Node would answer an Expect header that it does not know with an empty 417.
  server.on('checkExpectation', onRequest);
  server.maxConnections = CONNECTIONS_MAX;
  server.on('clientError', (error, socket) => {
    logger.debug({ err: error }, 'broken request');
    answerBrokenRequest(error, socket, {
      headerBytes: HEADER_BYTES_MAX,
      requestMs: requestTimeoutMs,
    });
  });
  await listen(server, host, options.port);
  const { port } = server.address() as AddressInfo;
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  logger.info({ url, mount: options.mount }, 'serving HTTP');
  let closing: Promise<void> | undefined;
  return {
    url,
    port,
    close() {
      closing ??= closeServer(server, gate, options.closeGraceMs ?? 5_000);
      return closing;
    },
  };
}

/** One place per path, with what each method does there. */
function makeApp(options: ServeHttpOptions, gate: Gate): Hono<HonoEnv> {
  const app = new Hono<HonoEnv>();
  const sites = new Map<string, Map<string, Target>>();
  for (const { item, path } of mountEndpoints(allTargets(options), options.mount)) {
    const targets = sites.get(path) ?? new Map<string, Target>();
    targets.set(item.endpoint.method, item);
    sites.set(path, targets);
  }
  for (const [path, targets] of sites) {
    const site: Site = { targets, allow: allowOf([...targets.keys()]) };
    app.all(path.replace(/\{(\w+)\}/g, ':$1'), (c) => dispatch(c, site, gate));
  }
  for (const [path, page] of documentPages(options)) {
    const site: Site = { targets: new Map(), allow: allowOf(['GET']), page };
    app.all(path, (c) => dispatch(c, site, gate));
  }
  app.notFound((c) => dispatch(c as HttpContext, undefined, gate));
  app.onError((error, c) => defectResponse(error, gate, c.req.header('x-request-id')));
  return app;
}

function allTargets(options: ServeHttpOptions): Target[] {
  const here = options.services.flatMap((service) =>
    [...service.operations.values()].map((operation) => localTarget(operation, options.logger)),
  );
  if (options.mount === 'root') return here;
  const roles = new Set(options.services.map((service) => service.role));
  const elsewhere = ENDPOINTS.filter((endpoint) => !roles.has(endpoint.role));
  return [...here, ...elsewhere.map((endpoint) => remoteTarget(endpoint, options.router))];
}

function localTarget(operation: Operation, logger: Logger): Target {
  return {
    endpoint: operation.endpoint,
    run: (input, ctx) => answer(operation, input, ctx, logger),
    ...(operation.endpoint.outside !== undefined && {
      outside: (request, ctx) => answerOutside(operation, request, ctx, logger),
    }),
    open: (input, ctx) => invokeLive(operation, input, ctx),
  };
}

function remoteTarget(endpoint: Endpoint, router: ServiceClient | undefined): Target {
  const unavailable = (reason: string): AppError =>
    new AppError('DEPENDENCY_UNAVAILABLE', { dependency: `Role ${endpoint.role}`, reason });
  return {
    endpoint,
    async run(input, ctx) {
      if (router === undefined) throw unavailable('it does not run in this process');
      // Written out again it would lose what JSON cannot keep, before the role there could refuse it.
      checkJson(input, 'body', PASSED_ON);
      const { requestId, principal } = ctx;
      const [idempotencyKey, ifMatch] = ['idempotency-key', 'if-match'].map((name) =>
        ctx.headers(name),
      );
      return router.send(endpoint, input, {
        requestId,
        principal,
        ...(idempotencyKey !== undefined && { idempotencyKey }),
        ...(ifMatch !== undefined && { ifMatch }),
      });
    },
    ...(endpoint.outside !== undefined && {
      async outside(request, ctx) {
        if (router === undefined) throw unavailable('it does not run in this process');
        return router.pass(endpoint, request, ctx);
      },
    }),
    async open() {
      throw unavailable('live streams are served only by the process that has this role');
    },
  };
}

function allowOf(methods: readonly string[]): string {
  const head = methods.includes('GET') ? ['HEAD'] : [];
  return [...methods, ...head, 'OPTIONS'].join(', ');
}

function makeGate(options: ServeHttpOptions, host: string): Gate {
  const { auth, allowedHosts, allowedOrigins, rateLimits } = options;
  const prefix = randomUUID().slice(0, 8);
  let requests = 0;
  return {
    origin: originGuard({
      host,
      ...(allowedHosts !== undefined && { allowedHosts }),
      ...(allowedOrigins !== undefined && { allowedOrigins }),
    }),
    authenticate: auth === null ? undefined : authenticator(auth),
    limit:
      rateLimits === false
        ? undefined
        : rateLimiter({ ...DEFAULT_RATES, ...rateLimits }, () => performance.now()),
    live: liveStreams(options.live),
    logger: options.logger,
    newRequestId: () => {
      requests += 1;
      return `${prefix}-${requests.toString(36)}`;
    },
  };
}

function refuseOpenDoor(host: string, auth: Auth | null): void {
  if (auth !== null || isLoopback(host)) return;
  throw new AppError('FORBIDDEN', {
    reason: `binding ${host} needs tokens: set IRONCLAW_TOKENS, or bind 127.0.0.1`,
  });
}

/** What never reached a route: a target or Host header that is not a URL. */
function badRequest(error: unknown, gate: Gate): Response {
  const reason = error instanceof RequestError ? error.message : undefined;
  if (reason === undefined) return defectResponse(error, gate);
  return bareResponse(new AppError('INVALID_REQUEST', { reason }), gate.newRequestId());
}

function defectResponse(error: unknown, gate: Gate, requestId = gate.newRequestId()): Response {
  return bareResponse(asAppError(error, requestId, gate.logger), requestId);
}

function bareResponse(error: AppError, requestId: string): Response {
  const headers = { 'content-type': 'application/json', 'x-request-id': requestId };
  return new Response(JSON.stringify(errorBody(error)), { status: error.status, headers });
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new AppError(
        'ALREADY_RUNNING',
        { path: `${host}:${port}`, pid: 'unknown' },
        { cause: error },
      );
    }
    throw invalid('port', `${host}:${port} cannot be bound (${code ?? String(error)})`);
  }
}

async function closeServer(server: Server, gate: Gate, graceMs: number): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  gate.live.closeAll();
  server.closeIdleConnections();
  // A connection becomes idle when its last answer is out; Node would keep it for the next one.
  const sweep = setInterval(() => server.closeIdleConnections(), 20);
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(timer);
}
