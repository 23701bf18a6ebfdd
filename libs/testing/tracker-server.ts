import { createServer, type IncomingMessage } from 'node:http';

/** How one request is answered. */
export type TrackerStep =
  | { status: number; body?: unknown }
  /** Not JSON. */
  | { status: number; text: string }
  /** The connection is cut without an answer. */
  | 'disconnect'
  /** No answer until the client gives up. */
  | 'hang';

/** A request as it arrived. */
export type TrackerRequest = {
  method: string;
  /** Below /api/v1/tracker/, as `bind-resolve/`; elsewhere, whole. */
  path: string;
  headers: IncomingMessage['headers'];
  body: Record<string, unknown> | undefined;
};

/** A tracker on a random loopback port that answers as it is told. */
export type TrackerServer = AsyncDisposable & {
  readonly url: string;
  /** So far; may be emptied. */
  requests(): TrackerRequest[];
  /** The next answers for a path (`*`: for any), in turn; the last one stays. */
  script(path: string, ...steps: TrackerStep[]): void;
};

const ROOT = '/api/v1/tracker/';

/**
 * Starts a tracker for tests. Unscripted, it binds: bind-resolve answers one candidate, or the
 * binding made before; bind-confirm makes it; bind-validate knows it; mission-origin/bind takes one
 * origin a mission and refuses another with 409; /api/v1/token/refresh/ takes any refresh token.
 */
export async function startTrackerServer(): Promise<TrackerServer> {
  const requests: TrackerRequest[] = [];
  const scripts = new Map<string, TrackerStep[]>();
  const usual = usualTracker();
  const stepFor = (request: TrackerRequest): TrackerStep => {
    const steps = scripts.get(request.path) ?? scripts.get('*');
    const step = (steps?.length ?? 0) > 1 ? steps?.shift() : steps?.[0];
    return step ?? usual(request);
  };
  const server = createServer((incoming, response) => {
    void (async () => {
      const text = await readText(incoming);
      const request: TrackerRequest = {
        method: incoming.method ?? '',
        path: (incoming.url ?? '').replace(ROOT, ''),
        headers: incoming.headers,
        body: text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>),
      };
      requests.push(request);
      const step = stepFor(request);
      if (step === 'hang') return;
      if (step === 'disconnect') return void response.destroy();
      const isText = 'text' in step;
      const type = { 'content-type': isText ? 'text/html' : 'application/json' };
      response.writeHead(step.status, type);
      response.end(isText ? step.text : JSON.stringify(step.body ?? {}));
    })();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests: () => requests,
    script: (path, ...steps) => void scripts.set(path, steps),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

type Told = Record<string, unknown>;

function usualTracker(): (request: TrackerRequest) => TrackerStep {
  const bindings = new Map<string, string>();
  const origins = new Map<string, string>();
  const projectOf = ({ body }: TrackerRequest): string =>
    String((body?.project_identity as Told | undefined)?.uuid);
  const handlers: Record<string, (request: TrackerRequest) => TrackerStep> = {
    'bind-resolve/': (request) => {
      const ref = bindings.get(projectOf(request));
      if (ref !== undefined) {
        return { status: 200, body: { match_type: 'exact', binding_ref: ref } };
      }
      return { status: 200, body: { match_type: 'candidates', candidates: [candidate(1)] } };
    },
    'bind-confirm/': (request) => {
      const ref = `binding-of-${String(request.body?.candidate_token)}`;
      bindings.set(projectOf(request), ref);
      return { status: 200, body: { binding_ref: ref, display_label: 'Board 1' } };
    },
    'bind-validate/': (request) => {
      const ref = request.body?.binding_ref;
      const valid = bindings.get(projectOf(request)) === ref;
      return { status: 200, body: { valid, binding_ref: ref, reason: valid ? null : 'not_bound' } };
    },
    'mission-origin/bind/': ({ body }) => {
      const mission = String(body?.mission_slug);
      const issue = String(body?.external_issue_id);
      const before = origins.get(mission);
      if (before !== undefined && before !== issue) {
        const message = 'the mission has another origin';
        return { status: 409, body: { error_code: 'origin_conflict', message, retryable: false } };
      }
      origins.set(mission, issue);
      return { status: 200, body: { origin_link_id: `origin-of-${mission}` } };
    },
    '/api/v1/token/refresh/': ({ body }) => {
      const used = String(body?.refresh);
      return { status: 200, body: { access: `access-of-${used}`, refresh: `next-of-${used}` } };
    },
  };
  return (request) => handlers[request.path]?.(request) ?? { status: 404, body: {} };
}

function candidate(n: number): Told {
  return {
    candidate_token: `token-${n}`,
    display_label: `Board ${n}`,
    confidence: 'high',
    match_reason: 'the name is the same',
    sort_position: n - 1,
  };
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
