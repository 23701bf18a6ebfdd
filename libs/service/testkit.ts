import { connect } from 'node:net';
import { API, type Role } from '#libs/contracts';
import { pino } from 'pino';
import { type HttpServer, type ServeHttpOptions, serveHttp } from './http.ts';
import { defineService, type Endpoints, type Handler, type Service } from './service.ts';

/** For the tests of this room: silent unless TEST_LOG_LEVEL is set. */
export const logger = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });

type Fakes = Record<string, (...args: never[]) => unknown>;

/** A role whose handlers answer `{endpoint, input}` where `fakes` has none. */
export function fakeService(role: Role, fakes: Fakes = {}): Service {
  const endpoints: Endpoints = API[role];
  const handlers = Object.fromEntries(
    Object.entries(endpoints).map(([key, endpoint]) => [
      key,
      fakes[key] ??
        (endpoint.outside === undefined
          ? async (input: unknown) => ({ endpoint: endpoint.name, input })
          : async () => ({ status: 200, body: { ok: true } })),
    ]),
  ) as Record<string, Handler<never>>;
  return defineService(endpoints, handlers as never);
}

/** Every role there is, with fake handlers. */
export function fakeServices(): Service[] {
  return (Object.keys(API) as Role[]).map((role) => fakeService(role));
}

export type TestServer = HttpServer & AsyncDisposable;

/** A server on a free port of loopback, closed at the end of the test. */
export async function testServer(options: Partial<ServeHttpOptions>): Promise<TestServer> {
  const server = await serveHttp({
    services: [],
    mount: 'root',
    port: 0,
    auth: null,
    logger,
    version: '0.0.0',
    closeGraceMs: 500,
    ...options,
  });
  return { ...server, [Symbol.asyncDispose]: () => server.close() };
}

export type Answer = { status: number; headers: Headers; body: Record<string, never> & Body };
type Body = { ok: boolean; data: unknown; error: { code: string; field?: string } | null };

/** Fetches and reads the envelope. */
export async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init);
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as never,
  };
}

/** POSTs `body` as JSON (a string: as it is). */
export function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  return ask(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** Sends text as it is and gives what came back until the server hung up or `waitMs` passed. */
export function rawRequest(port: number, text: string, waitMs = 3_000): Promise<string> {
  return new Promise((resolve) => {
    let got = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    const timer = setTimeout(() => socket.destroy(), waitMs);
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      got += chunk;
    });
    // A reset after the answer is how a refused body may end; the answer is what counts.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(got);
    });
  });
}

/** The envelope of a raw HTTP answer. */
export function rawEnvelope(answer: string): { status: number; body: Body } {
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  return { status: Number(head.split(' ')[1]), body: JSON.parse(body) as Body };
}
