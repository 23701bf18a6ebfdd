import { createHmac, randomBytes } from 'node:crypto';
import { headers as natsHeaders } from 'nats';
import { expect } from 'vitest';
import { canonicalize } from '#libs/signing';
import { startSystem, type System, type SystemOptions } from './harness.ts';
import { type Data, sendHttp, type Way } from './wire.ts';

// A stranger's sender of signed milestones and demand snapshots, and a reader of the feeds.

export const SECRET = 'a secret of the tests';
export type Channel = 'milestones' | 'demand';

/** A system that takes signed deliveries. */
export function startFeeds(env: Record<string, string> = {}, more: Partial<SystemOptions> = {}) {
  return startSystem({ roles: ['ledger', 'intake'], env, ...more });
}

let count = 0;
export const freshKey = (): string => {
  count += 1;
  return `key ${count} ${randomBytes(6).toString('hex')}`;
};

/** A whole milestone envelope; `event` and the rest can be given otherwise. */
export function milestone(event: Data = {}, rest: Data = {}): Data {
  return {
    idempotencyKey: freshKey(),
    sentAtUtc: new Date().toISOString(),
    event: {
      milestoneId: 'build.1',
      timestampUtc: new Date().toISOString(),
      scope: 'release',
      claim: 'The build is out.',
      evidence: [
        { type: 'log', path: 'logs/build.txt', summary: 'green' },
        { type: 'commit', path: 'src', summary: 'three changes', ref: 'abc' },
      ],
      riskStatus: 'on-track',
      nextAction: 'Watch it.',
      source: 'operator',
      ...event,
    },
    ...rest,
  };
}

export const without = (value: Data, ...names: string[]): Data =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));

export function demand(snapshot: Data = {}, rest: Data = {}): Data {
  return {
    idempotencyKey: freshKey(),
    sentAtUtc: new Date().toISOString(),
    snapshot: {
      summaryId: 'demand.1',
      generatedAtUtc: new Date().toISOString(),
      source: 'orchestrator',
      queueTotal: 12,
      draftTotal: 9,
      selectedForDraftTotal: 4,
      tagCounts: { draft: 5, priority: 3, manualReview: 1 },
      topPillars: [{ id: 'platform', label: 'Platform', count: 6 }],
      topKeywordClusters: [],
      segments: [segment('security-exposure', 7, 'hot'), segment('debug-blindness', 2, 'warm')],
      ...snapshot,
    },
    ...rest,
  };
}

export function segment(id: string, liveSignalCount: number, state: string): Data {
  return { id, label: id, liveSignalCount, state, staticWeight: 1, clusterLabels: [] };
}

export function signatureOf(body: unknown, secret = SECRET): string {
  return createHmac('sha256', secret).update(canonicalize(body)).digest('hex');
}

/** What is answered: the status, and the body as it is. */
export type Taken = { status: number; body: Data };

export type SendOptions = {
  signature?: string | string[] | null;
  timestamp?: string | null;
  secret?: string;
  /** Bytes in place of the envelope as JSON. */
  raw?: string | Uint8Array;
};

const PATHS = { milestones: '/internal/milestones/ingest', demand: '/internal/demand/ingest' };

/** Delivers one envelope, rightly signed unless told otherwise. */
export async function send(
  system: System,
  way: Way,
  channel: Channel,
  envelope: unknown,
  options: SendOptions = {},
): Promise<Taken> {
  const { secret = SECRET, timestamp = new Date().toISOString() } = options;
  const signature =
    options.signature === undefined ? signatureOf(envelope, secret) : options.signature;
  const body = options.raw ?? JSON.stringify(envelope);
  if (way === 'nats') return overNats(system, channel, body, signature, timestamp);
  const headers: Record<string, string | string[]> = { 'content-type': 'application/json' };
  if (signature !== null) headers['x-openclaw-signature'] = signature;
  if (timestamp !== null) headers['x-openclaw-timestamp'] = timestamp;
  const root = system.url('intake');
  const answer = await sendHttp(root, 'POST', PATHS[channel], {
    body,
    headers: headers as Record<string, string>,
  });
  return { status: answer.status, body: JSON.parse(answer.text) as Data };
}

async function overNats(
  system: System,
  channel: Channel,
  body: string | Uint8Array,
  signature: string | string[] | null,
  timestamp: string | null,
): Promise<Taken> {
  const headers = natsHeaders();
  for (const one of [signature ?? []].flat()) headers.append('X-OpenClaw-Signature', one);
  if (timestamp !== null) headers.set('x-openclaw-timestamp', timestamp);
  const message = await system.broker.nc.request(`signed.v1.${channel}`, body, {
    timeout: 20_000,
    headers,
  });
  const { stream: _stream, seq: _seq, duplicate: _duplicate, ...rest } = message.json<Data>();
  return { status: Number(message.headers?.get('Ironclaw-Status')), body: rest };
}

/** A read of the contract, over HTTP. */
export async function read(system: System, path: string): Promise<Taken> {
  const answer = await sendHttp(system.url('intake'), 'GET', path);
  expect(answer.contentType).toBe('application/json');
  return { status: answer.status, body: JSON.parse(answer.text) as Data };
}

export async function latest(system: System, query = '?limit=50'): Promise<Data[]> {
  return (await read(system, `/api/milestones/latest${query}`)).body.items as Data[];
}

export async function deadLetters(system: System): Promise<Data[]> {
  return (await read(system, '/api/milestones/dead-letter')).body.items as Data[];
}

export const idsOf = (items: readonly Data[]): string[] => items.map((item) => item.milestoneId);
