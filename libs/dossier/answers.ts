/** What became of one upload. */
export type Outcome =
  | 'uploaded'
  | 'already_exists'
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'index_entry_not_found'
  | 'namespace_not_found'
  | 'not_found'
  | 'rate_limited'
  | 'server_error'
  | 'unreachable'
  | 'unexpected_status';

/** `done`: leaves the queue. `retry`: waits and is sent again. `fail`: given up, with its reason. */
export type Disposition = 'done' | 'retry' | 'fail';

export type Answer = {
  outcome: Outcome;
  disposition: Disposition;
  detail: string;
  /** True where it says nothing of the row: no connection came about, or nobody is let in now. */
  ofService?: true;
};

const DETAIL_CHARS = 500;

/** Of an attempt to connect; a connection that breaks later has other codes. */
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'ENETDOWN',
  'EHOSTUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/**
 * No answer: the connection failed, or nothing came within the time.
 * @param reason the system's code where it has one
 */
export function noAnswer(reason: string): Answer {
  const answer: Answer = { outcome: 'unreachable', disposition: 'retry', detail: cut(reason) };
  return NOT_CONNECTED.has(reason) ? { ...answer, ofService: true } : answer;
}

/**
 * What an answer of the server means (reference §3).
 * @param body as parsed JSON; anything where it was none
 */
export function classify(status: number, body: unknown): Answer {
  const say = (outcome: Outcome, disposition: Disposition): Answer => ({
    outcome,
    disposition,
    detail: cut(`${status} ${outcome}${describe(body)}`),
  });
  if (status === 201) return say('uploaded', 'done');
  if (status === 200) return say('already_exists', 'done');
  if (status === 400) return say('bad_request', 'fail');
  if (status === 401) return { ...say('unauthorized', 'retry'), ofService: true };
  if (status === 403) return say('forbidden', 'fail');
  if (status === 404) return say(...ofMissing(errorCode(body)));
  if (status === 429) return { ...say('rate_limited', 'retry'), ofService: true };
  if (status >= 500 && status <= 599) return say('server_error', 'retry');
  return say('unexpected_status', 'fail');
}

/** The events that make the entry may still be on their way; a namespace nobody made never comes. */
function ofMissing(code: string | undefined): [Outcome, Disposition] {
  if (code === 'namespace_not_found') return ['namespace_not_found', 'fail'];
  if (code === 'index_entry_not_found') return ['index_entry_not_found', 'retry'];
  return ['not_found', 'retry'];
}

/** `error` is a word, or the error of an IronClaw envelope. */
function errorCode(body: unknown): string | undefined {
  const error = fieldOf(body, 'error');
  const code = typeof error === 'string' ? error : fieldOf(error, 'code');
  return typeof code === 'string' ? code.toLowerCase() : undefined;
}

function describe(body: unknown): string {
  const error = fieldOf(body, 'error');
  const said = fieldOf(error, 'message') ?? fieldOf(body, 'detail') ?? error;
  if (typeof said === 'string') return `: ${said}`;
  const isFields = typeof body === 'object' && body !== null && said === undefined;
  return isFields && Object.keys(body).length > 0 ? `: ${JSON.stringify(body)}` : '';
}

function fieldOf(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

function cut(text: string): string {
  return text.slice(0, DETAIL_CHARS);
}
