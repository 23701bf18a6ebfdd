import { request as httpRequest } from 'node:http';
import { headers as natsHeaders, type NatsConnection } from 'nats';
import { expect } from 'vitest';

/** How a check reaches the system. */
export type Way = 'http' | 'nats';
export const WAYS: readonly Way[] = ['http', 'nats'];

type ErrorBody = {
  code: string;
  message: string;
  field?: string;
  retry_after_ms?: number;
  details?: Data;
};
// oxlint-disable-next-line typescript/no-explicit-any -- answers are judged key by key
export type Data = Record<string, any>;

/** What came back, as bytes on the wire and as the envelope in them. */
export type Answer = {
  status: number;
  contentType: string;
  text: string;
  body: { ok: boolean; data: Data | null; error: ErrorBody | null };
};

/**
 * Method and path of each endpoint, spelled out as the contract has them: these tests hold no list
 * of ours. Over NATS the name is the end of the subject.
 */
export const ROUTES: Readonly<Record<string, string>> = {
  'gateway.chat': 'POST /chat',
  'gateway.run': 'GET /runs/{run_id}',
  'gateway.order': 'GET /orders/{order_id}',
  'gateway.runs': 'GET /runs',
  'gateway.orders': 'GET /orders',
  'gateway.events': 'GET /events',
  'gateway.stream': 'GET /api/stream',
  'gateway.health': 'GET /health',
  'co.create-run': 'POST /runs',
  'co.plan': 'POST /runs/{run_id}/plan',
  'co.dispatch': 'POST /runs/{run_id}/dispatch',
  'co.synthesize': 'POST /runs/{run_id}/synthesize',
  'co.playbooks': 'GET /playbooks',
  'co.health': 'GET /health',
  'ledger.append': 'POST /events',
  'ledger.append-batch': 'POST /events/batch',
  'ledger.events': 'GET /events',
  'ledger.event': 'GET /events/{event_id}',
  'ledger.runs': 'GET /runs',
  'ledger.run': 'GET /runs/{run_id}',
  'ledger.orders': 'GET /orders',
  'ledger.order': 'GET /orders/{order_id}',
  'ledger.theaters': 'GET /theaters',
  'ledger.theater': 'GET /theaters/{theater_id}',
  'ledger.anomalies': 'GET /anomalies',
  'ledger.views': 'GET /views',
  'ledger.rebuild-views': 'POST /views/rebuild',
  'ledger.stream': 'GET /api/stream',
  'ledger.health': 'GET /health',
  'gateway.cancel-run': 'POST /runs/{run_id}/cancel',
  'gateway.feedback': 'POST /runs/{run_id}/feedback',
  'gateway.escalations': 'GET /escalations',
  'gateway.ack-escalation': 'POST /escalations/{escalation_id}/ack',
  'gateway.approve': 'POST /escalations/{escalation_id}/approve',
  'gateway.deny': 'POST /escalations/{escalation_id}/deny',
  'ledger.dead-letters': 'GET /dead-letters',
  'ledger.dead-letter': 'GET /dead-letters/{seq}',
  'ledger.redrive': 'POST /dead-letters/{seq}/redrive',
  'ledger.discard': 'DELETE /dead-letters/{seq}',
  'co.cancel-run': 'POST /runs/{run_id}/cancel',
  'co.cancel-order': 'POST /orders/{order_id}/cancel',
  'co.pause': 'POST /pause',
  'co.resume': 'POST /resume',
  'co.feedback': 'POST /runs/{run_id}/feedback',
  'co.ack-escalation': 'POST /escalations/{escalation_id}/ack',
  'co.approve': 'POST /escalations/{escalation_id}/approve',
  'co.deny': 'POST /escalations/{escalation_id}/deny',
  'vault.open-theater': 'POST /theaters',
  'vault.create-worktree': 'POST /worktrees',
  'vault.prepare-worktree': 'POST /worktrees/{order_id}/prepare',
  'vault.worktree': 'GET /worktrees/{order_id}',
  'vault.archive-worktree': 'POST /worktrees/{order_id}/archive',
  'vault.quarantine-worktree': 'POST /worktrees/{order_id}/quarantine',
  'vault.remove-worktree': 'DELETE /worktrees/{order_id}',
  'vault.start-lane': 'POST /theaters/{theater_id}/lanes',
  'vault.merge-mission': 'POST /theaters/{theater_id}/merge-mission',
  'vault.read-file': 'GET /theaters/{theater_id}/file',
  'vault.health': 'GET /health',
  'worker.submit-job': 'POST /jobs',
  'worker.health': 'GET /health',
  'observer.patrol': 'POST /theaters/{theater_id}/patrol',
  'observer.health': 'GET /health',
  'duty-officer.patrol': 'POST /patrol',
  'duty-officer.health': 'GET /health',
  'sentinel.audit': 'POST /audit',
  'sentinel.health': 'GET /health',
  'ledger.stats': 'GET /stats',
  'ledger.escalations': 'GET /escalations',
  'integration.integrate': 'POST /integrate',
  'integration.health': 'GET /health',
  'learning.tick': 'POST /learn/tick',
  'learning.policy': 'GET /policy/{theater_id}',
  'learning.history': 'GET /policy/{theater_id}/history',
  'learning.diff': 'GET /policy/{theater_id}/diff',
  'learning.pin': 'POST /policy/{theater_id}/pin',
  'learning.rollback': 'POST /policy/{theater_id}/rollback',
  'learning.health': 'GET /health',
  'missions.push-content': 'POST /api/dossier/push-content/',
  'missions.dossiers': 'GET /dossiers',
  'missions.dossier-stream': 'GET /dossiers/stream',
  'missions.artifacts': 'GET /dossiers/{project_uuid}/{mission_slug}/artifacts',
  'missions.artifact': 'GET /dossiers/{project_uuid}/{mission_slug}/artifact',
  'missions.content': 'GET /content/{sha256}',
  'missions.record-origin': 'POST /origins',
  'missions.record-events': 'POST /api/v1/events/batch/',
  'missions.boards': 'GET /boards',
  'missions.board': 'GET /boards/{project_uuid}/{mission_slug}',
  'missions.work-packages': 'GET /boards/{project_uuid}/{mission_slug}/work-packages',
  'missions.history': 'GET /boards/{project_uuid}/{mission_slug}/history',
  'missions.run': 'POST /boards/{project_uuid}/{mission_slug}/run',
  'missions.retry': 'POST /boards/{project_uuid}/{mission_slug}/retry',
  'missions.stream': 'GET /stream',
  'missions.health': 'GET /health',
  'projects.create': 'POST /projects',
  'projects.import': 'POST /imports',
  'projects.list': 'GET /projects',
  'projects.get': 'GET /projects/{project_id}',
  'projects.as-of': 'GET /projects/{project_id}/as-of',
  'projects.history': 'GET /projects/{project_id}/history',
  'projects.decisions': 'GET /projects/{project_id}/decisions',
  'projects.update': 'POST /projects/{project_id}',
  'projects.update-artifact': 'POST /projects/{project_id}/artifacts/{artifact_id}',
  'projects.apply-waiver': 'POST /projects/{project_id}/artifacts/{artifact_id}/waiver',
  'projects.remove-waiver': 'DELETE /projects/{project_id}/artifacts/{artifact_id}/waiver',
  'projects.add-comment': 'POST /projects/{project_id}/artifacts/{artifact_id}/comments',
  'projects.resolve-comment':
    'POST /projects/{project_id}/artifacts/{artifact_id}/comments/{comment_id}/resolve',
  'projects.reopen-comment':
    'POST /projects/{project_id}/artifacts/{artifact_id}/comments/{comment_id}/reopen',
  'projects.gate': 'GET /projects/{project_id}/phases/{phase_id}/gate',
  'projects.decide-gate': 'POST /projects/{project_id}/phases/{phase_id}/gate',
  'projects.reopen-gate': 'POST /projects/{project_id}/phases/{phase_id}/gate/reopen',
  'projects.heartbeat': 'POST /projects/{project_id}/heartbeat',
  'projects.link-agent': 'POST /projects/{project_id}/agents',
  'projects.propose-draft': 'POST /projects/{project_id}/artifacts/{artifact_id}/drafts',
  'projects.accept-draft':
    'POST /projects/{project_id}/artifacts/{artifact_id}/drafts/{draft_id}/accept',
  'projects.dismiss-draft':
    'POST /projects/{project_id}/artifacts/{artifact_id}/drafts/{draft_id}/dismiss',
  'projects.revert': 'POST /projects/{project_id}/revert',
  'projects.migrate': 'POST /projects/{project_id}/migrate',
  'projects.export': 'GET /projects/{project_id}/export',
  'projects.verify': 'GET /projects/{project_id}/verify',
  'projects.keys': 'GET /keys',
  'projects.rotate-key': 'POST /keys',
  'projects.trust-key': 'POST /keys/trust',
  'projects.key': 'GET /keys/{key_id}',
  'projects.health': 'GET /health',
  'outbox.emit-milestone': 'POST /milestones',
  'outbox.emit-demand': 'POST /demand',
  'outbox.deliveries': 'GET /deliveries',
  'outbox.delivery': 'GET /deliveries/{delivery_id}',
  'outbox.redrive': 'POST /deliveries/{delivery_id}/redrive',
  'outbox.discard': 'POST /deliveries/{delivery_id}/discard',
  'outbox.targets': 'GET /targets',
  'outbox.health': 'GET /health',
  'intake.ingest-milestone': 'POST /internal/milestones/ingest',
  'intake.ingest-demand': 'POST /internal/demand/ingest',
  'intake.latest': 'GET /api/milestones/latest',
  'intake.dead-letter': 'GET /api/milestones/dead-letter',
  'intake.demand-live': 'GET /api/command-center/demand-live',
  'intake.demand': 'GET /api/command-center/demand',
  'intake.overview': 'GET /api/command-center/overview',
  'intake.milestones': 'GET /milestones',
  'intake.demand-history': 'GET /demand/history',
  'intake.stream': 'GET /api/feeds/stream',
  'intake.redrive': 'POST /deliveries/redrive',
  'intake.health': 'GET /health',
};

const TIMEOUT_MS = 20_000;

/** Sends one request over HTTP, its path untouched by any URL normalisation. */
export function sendHttp(
  base: string,
  method: string,
  path: string,
  options: { body?: string | Uint8Array; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const url = new URL(base);
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        host: url.hostname,
        port: url.port,
        method,
        path: url.pathname.replace(/\/$/, '') + path,
        headers: { ...options.headers },
        timeout: TIMEOUT_MS,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          const contentType = response.headers['content-type'] ?? '';
          resolve({ status: response.statusCode ?? 0, contentType, text, body: parsed(text) });
        });
      },
    );
    request.on('timeout', () => request.destroy(new Error(`${method} ${path} timed out`)));
    request.on('error', reject);
    request.end(options.body);
  });
}

/** Calls an endpoint over HTTP: path parameters, then query or body, are taken from `input`. */
export async function callHttp(
  base: string,
  name: string,
  input: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const [method = '', template = ''] = (ROUTES[name] ?? '').split(' ');
  if (method === '') throw new Error(`no route for ${name}`);
  const rest = Array.isArray(input) ? {} : { ...(input as Record<string, unknown>) };
  const path = template.replace(/\{(\w+)\}/g, (_whole, key: string) => {
    const value = String(rest[key]);
    delete rest[key];
    return encodeURIComponent(value);
  });
  if (method === 'POST') {
    const body = JSON.stringify(Array.isArray(input) ? input : rest);
    const type = { 'content-type': 'application/json' };
    return fetchAnswer(base + path, { method, body, headers: { ...type, ...headers } });
  }
  const query = new URLSearchParams(
    Object.entries(rest).map(([key, value]): [string, string] => [key, String(value)]),
  ).toString();
  return fetchAnswer(base + path + (query && `?${query}`), { method, headers });
}

async function fetchAnswer(url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
  const text = await response.text();
  const contentType = response.headers.get('content-type') ?? '';
  return { status: response.status, contentType, text, body: parsed(text) };
}

/** Calls an endpoint over NATS: the message is the input, or these very bytes. */
export async function callNats(
  nc: NatsConnection,
  name: string,
  input: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const given = natsHeaders();
  for (const [key, value] of Object.entries(headers)) given.set(key, value);
  const isBytes = typeof input === 'string' || input instanceof Uint8Array;
  const payload = isBytes ? input : JSON.stringify(input);
  const message = await nc.request(`svc.v1.${name}`, payload, {
    timeout: TIMEOUT_MS,
    headers: given,
  });
  const text = message.string();
  const status = Number(message.headers?.get('Ironclaw-Status'));
  return { status, contentType: 'application/json', text, body: parsed(text) };
}

function parsed(text: string): Answer['body'] {
  try {
    return JSON.parse(text) as Answer['body'];
  } catch {
    return { ok: false, data: null, error: null };
  }
}

/** Asserts `ok(x)` of the checks: 2xx and `{ok:true, data, error:null}`; gives the data. */
export function ok(answer: Answer, status?: number): Data {
  expect(answer.body, answer.text).toMatchObject({ ok: true, error: null });
  expect(Object.keys(answer.body).sort()).toEqual(['data', 'error', 'ok']);
  if (status === undefined) expect(Math.trunc(answer.status / 100)).toBe(2);
  else expect(answer.status, answer.text).toBe(status);
  expect(answer.contentType).toMatch(/^application\/json/);
  return answer.body.data as Data;
}

/** Asserts `err`: 4xx or 5xx and `{ok:false, data:null, error:{code, message}}`; gives the error. */
export function err(answer: Answer, code?: string, status?: number): ErrorBody {
  const shown = answer.text.slice(0, 500);
  expect(Object.keys(answer.body).sort(), shown).toEqual(['data', 'error', 'ok']);
  expect(answer.body.ok, shown).toBe(false);
  expect(answer.body.data).toBeNull();
  const { error } = answer.body;
  expect(error?.code, shown).toMatch(/^[A-Z][A-Z_]+$/);
  expect(error?.message.trim(), shown).not.toBe('');
  expect(answer.text, 'no stack trace').not.toMatch(/\bat \S+ \(|node_modules|<html/i);
  expect(answer.contentType).toMatch(/^application\/json/);
  if (code !== undefined) expect(error?.code, shown).toBe(code);
  if (status !== undefined) expect(answer.status, shown).toBe(status);
  expect(answer.status).toBeGreaterThanOrEqual(400);
  return error as ErrorBody;
}

/** `err` that is the caller's fault: 4xx, never 5xx. */
export function refused(answer: Answer, code?: string): ErrorBody {
  const error = err(answer, code);
  expect(answer.status, answer.text.slice(0, 500)).toBeLessThan(500);
  return error;
}

/** The first so many events of a server-sent stream. */
export async function followSse(url: string, count: number, headers: Record<string, string> = {}) {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(20_000)]);
  const response = await fetch(url, { headers, signal });
  expect(response.status).toBe(200);
  const found: { id: number; data: Data }[] = [];
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const id = /^id: ?(\d+)$/m.exec(block)?.[1];
      const data = /^data: ?(.*)$/m.exec(block)?.[1];
      if (id !== undefined && data !== undefined) {
        found.push({ id: Number(id), data: JSON.parse(data) as Data });
      }
    }
    if (found.length >= count) break;
  }
  stop.abort();
  return found.slice(0, count);
}
