import { AppError } from '#libs/contracts';
import { faultOf, type Json, loginNeeded, refused, textOf, type TrackerAnswer } from './answers.ts';
import { addressOf, exchange } from './exchange.ts';
import type { ProjectIdentity } from './identity.ts';

export type TrackerOptions = {
  /** As https://tracker.example.com */
  server: string;
  /** Undefined: nobody is logged in. Asked anew for each request. */
  token: () => string | undefined;
  /** Gets a new token after `token` gave one that was refused. @returns false: there is none */
  refresh: () => Promise<boolean>;
  team: string | undefined;
  /** Refuses an identity that breaks the contract, before anything is sent. */
  gate: (identity: ProjectIdentity) => void;
  /** A key that names one wish, however often it is sent. */
  newKey: () => string;
  sleep: (ms: number) => Promise<void>;
  nowMs: () => number;
  /** Default 30 000 ms. */
  timeoutMs?: number;
};

/** What a mission came from. */
export type Origin = {
  provider: 'jira' | 'linear';
  mission_slug: string;
  external_issue_id: string;
  external_issue_key: string;
  external_issue_url: string;
  title: string;
  external_status?: string;
  /** The project of the tracker: one of the two. */
  binding_ref?: string;
  project_slug?: string;
};

/**
 * Requests of the tracker (reference §4). All throw:
 * {TRACKER_LOGIN} nobody is logged in, or no longer · {TRACKER_REFUSED} with the tracker's own
 * fields in `details` · {DEPENDENCY_UNAVAILABLE} it does not answer · {TIMEOUT} an operation that
 * does not end · and what the gate throws.
 */
export type TrackerClient = {
  bindResolve(provider: string, identity: ProjectIdentity): Promise<Json>;
  bindConfirm(provider: string, candidate: string, identity: ProjectIdentity): Promise<Json>;
  bindValidate(provider: string, bindingRef: string, identity: ProjectIdentity): Promise<Json>;
  /** The same origin again is a success; another one is refused with 409. */
  bindOrigin(origin: Origin): Promise<Json>;
};

const ROOT = '/api/v1/tracker/';
const RETRY_AFTER_SECONDS = 5;
/** Longer than this nobody waits; it is told instead. */
const RETRY_AFTER_SECONDS_MAX = 300;
const POLL_MS = 1_000;
const POLL_MS_MAX = 30_000;
const OPERATION_MS_MAX = 300_000;

type Request = { method: 'GET' | 'POST'; path: string; body?: object; key?: string };

export function createTrackerClient(options: TrackerOptions): TrackerClient {
  const { gate, newKey } = options;
  const post = async (path: string, body: object, key?: string): Promise<Json> => {
    const asked = { method: 'POST' as const, path, body, ...(key !== undefined && { key }) };
    const answer = await ask(options, asked);
    return answer.status === 202 ? untilEnded(options, answer) : bodyOf(answer);
  };
  return {
    bindResolve: async (provider, identity) => {
      gate(identity);
      return post('bind-resolve/', { provider, project_identity: identity });
    },
    bindConfirm: async (provider, candidate, identity) => {
      gate(identity);
      const body = { provider, candidate_token: candidate, project_identity: identity };
      return post('bind-confirm/', body, newKey());
    },
    bindValidate: async (provider, bindingRef, identity) => {
      gate(identity);
      const body = { provider, binding_ref: bindingRef, project_identity: identity };
      return post('bind-validate/', body);
    },
    bindOrigin: (origin) => {
      const { title, external_status = '', ...rest } = origin;
      // Servers of before and after June read the title under different names.
      const body = { ...rest, title, external_title: title, external_status };
      return post('mission-origin/bind/', body, newKey());
    },
  };
}

/** One request: a refused token is renewed once, and a limit of the server's waited for once. */
async function ask(options: TrackerOptions, request: Request): Promise<TrackerAnswer> {
  let renewed = false;
  let waited = false;
  for (;;) {
    const answer = await send(options, request);
    if (answer.status === 401) {
      const again = !renewed && (await options.refresh());
      if (!again) throw loginNeeded('the session has expired', 'session_expired');
      renewed = true;
    } else if (answer.status === 429) {
      const fault = faultOf(answer);
      const seconds = fault.retry_after_seconds ?? RETRY_AFTER_SECONDS;
      if (waited || seconds > RETRY_AFTER_SECONDS_MAX) {
        throw refused({ ...fault, error_code: 'rate_limited', retryable: true });
      }
      waited = true;
      await options.sleep(seconds * 1_000);
    } else if (answer.status >= 200 && answer.status < 300) {
      return answer;
    } else {
      throw refused(faultOf(answer));
    }
  }
}

async function send(options: TrackerOptions, request: Request): Promise<TrackerAnswer> {
  const { server, team, timeoutMs } = options;
  const token = options.token();
  if (token === undefined || token === '')
    throw loginNeeded('there is no token', 'unauthenticated');
  if (team === undefined || team === '') throw loginNeeded('there is no team', 'unauthenticated');
  const { method, path, body, key } = request;
  return exchange({
    url: addressOf(server, ROOT + path),
    method,
    headers: {
      authorization: `Bearer ${token}`,
      'x-team-slug': team,
      ...(key !== undefined && { 'idempotency-key': key }),
    },
    body,
    timeoutMs,
  });
}

function bodyOf({ status, body }: TrackerAnswer): Json {
  if (body !== undefined) return body;
  throw refused(
    faultOf({ status, body: { message: `it answered ${status} without a JSON object` } }),
  );
}

/** Asks after an operation that was taken: 1 s doubling to 30 s, 5 minutes in all. */
async function untilEnded(options: TrackerOptions, taken: TrackerAnswer): Promise<Json> {
  const id = textOf(bodyOf(taken), 'operation_id');
  const startedMs = options.nowMs();
  let waitMs = POLL_MS;
  while (options.nowMs() - startedMs < OPERATION_MS_MAX) {
    const path = `operations/${encodeURIComponent(id)}/`;
    const body = bodyOf(await ask(options, { method: 'GET', path }));
    if (body.status === 'completed') return isJson(body.result) ? body.result : body;
    if (body.status === 'failed') {
      const error = isJson(body.error) ? body.error : { message: 'the operation failed' };
      throw refused(faultOf({ status: 200, body: error }));
    }
    await options.sleep(waitMs);
    waitMs = Math.min(waitMs * 2, POLL_MS_MAX);
  }
  throw new AppError('TIMEOUT', { what: `Operation ${id}`, limit_ms: OPERATION_MS_MAX });
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
