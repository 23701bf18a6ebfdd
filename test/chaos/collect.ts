import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Broker, getObject } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import type { Digest } from '#libs/projections';
import { followLedger } from '#libs/runtime';
import { createHash } from 'node:crypto';
import { pino } from 'pino';
import { openLedgerViews } from '../../apps/ledger/views/views.ts';
import {
  artifactNames,
  type Dead,
  type Evidence,
  foldHistory,
  type Served,
  type ViewFacts,
} from './check/mod.ts';
import type { Client } from './client.ts';
import { digestsAt, lookAtTheater, type TheaterFacts, type TheaterPlace } from './git-facts.ts';
import { countOf, eventsOf, feedOf, outboxOf, readStream } from './history.ts';
import type { Oracle } from './oracle.ts';
import { processesAt } from './processes.ts';
import { QUEUES } from './quiet.ts';
import type { System } from './system.ts';

const SETTLE_MS = 60_000;
const PAGE = 1_000;

/**
 * Gathers what the checker judges: first from the system as it runs, then it stops the roles and
 * looks at what they left. The broker still runs afterwards; `left` tells who else does.
 * @param quietSeq where the ledger ended when all had come to an end
 */
export async function collect(
  system: System,
  client: Client,
  oracle: Oracle,
  quietSeq: number,
): Promise<Evidence> {
  const { broker, stateDir } = system;
  const lists = await servedLists(client);
  const killed = await system.stopRoles();
  const tables = await compareTables(broker, stateDir);
  const left = processesAt(stateDir).filter((line) => !isBroker(line));
  const messages = await readStream(broker, 'LEDGER');
  const events = eventsOf(messages);
  const { state } = await broker.jsm.streams.info('LEDGER');
  const { orders } = foldHistory(events);
  const theaters = await Promise.all(theatersOf(events).map(lookAtTheater));
  const queues: Record<string, number> = {};
  for (const stream of QUEUES) queues[stream] = await countOf(broker, stream);
  return {
    oracle,
    events,
    messages: state.messages,
    lastSeq: state.last_seq,
    quietSeq,
    theaters,
    digests: await artifactDigests(theaters, artifactNames(orders.values())),
    objects: await storedObjects(broker, events),
    dead: await deadLetters(broker),
    feed: feedOf(await readStream(broker, 'FEEDS')),
    feedLastSeq: (await broker.jsm.streams.info('FEEDS')).state.last_seq,
    outbox: outboxOf(await readStream(broker, 'OUTBOX')),
    queues,
    views: { ...lists, ...tables },
    processes: { left, killed, falls: system.falls },
  };
}

/** It lies in the state folder, and is ours to stop. */
function isBroker(line: string): boolean {
  return /nats-server|ironclaw-broker-guard/.test(line);
}

type Lists = Pick<ViewFacts, 'runs' | 'orders' | 'rebuiltRuns' | 'rebuiltOrders' | 'poison'>;

async function servedLists(client: Client): Promise<Lists> {
  const seq = await levelSeq(client);
  const runs = await servedList(client, 'runs', seq);
  const orders = await servedList(client, 'orders', seq);
  await demand(client, 'POST', '/ledger/views/rebuild', {});
  await sleep(500);
  const poison = await levelViews(client);
  const rebuiltRuns = await servedList(client, 'runs', seq);
  const rebuiltOrders = await servedList(client, 'orders', seq);
  return { runs, orders, rebuiltRuns, rebuiltOrders, poison };
}

type ViewRow = { state: string; lag: number; seq: number; stream_seq: number; poison: number };

async function viewRows(client: Client): Promise<ViewRow[]> {
  return ((await demand(client, 'GET', '/ledger/views')) as { views: ViewRow[] }).views;
}

async function levelSeq(client: Client): Promise<number> {
  await levelViews(client);
  return Math.max(...(await viewRows(client)).map(({ seq }) => seq));
}

/** Waits until all views are live and level; answers how many events could not be applied. */
async function levelViews(client: Client): Promise<number> {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const rows = await viewRows(client);
    const isLevel = rows.every(({ state, lag }) => state === 'live' && lag === 0);
    if (isLevel || performance.now() > deadline) {
      return rows.reduce((sum, { poison }) => sum + poison, 0);
    }
    await sleep(200);
  }
}

async function servedList(client: Client, what: 'runs' | 'orders', seq: number) {
  const rows: Served[] = [];
  let cursor = '';
  do {
    const path = `/${what}?limit=${PAGE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`;
    const page = (await demand(client, 'GET', path)) as Record<string, unknown>;
    for (const row of page[what] as Record<string, unknown>[]) {
      const id = String(what === 'runs' ? row.run_id : row.order_id);
      const text = JSON.stringify(row);
      rows.push({ id, status: String(row.status), version: Number(row.version), text });
    }
    const asOf = Number(page.as_of);
    if (asOf < seq) throw new Error(`${what} reflect ${asOf}, not ${seq}`);
    cursor = (page.next_cursor as string | null) ?? '';
  } while (cursor !== '');
  return rows;
}

async function demand(client: Client, method: string, path: string, body?: unknown) {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const answer = await client.request(method, path, body);
    if (answer?.body.ok) return answer.body.data;
    if (performance.now() > deadline) {
      throw new Error(`${method} ${path} answers ${JSON.stringify(answer?.body.error ?? null)}`);
    }
    await sleep(300);
  }
}

/** The digests of the file that was served, and of one made from nothing, at one sequence. */
async function compareTables(broker: Broker, stateDir: string) {
  const served = join(stateDir, 'views');
  const folder = mkdtempSync(join(tmpdir(), 'ironclaw-chaos-views-'));
  const views = await openLedgerViews({
    ...followLedger(broker),
    folder: served,
    logger: pino({ level: 'silent' }),
  });
  const fresh = await openLedgerViews({
    ...followLedger(broker),
    folder,
    logger: pino({ level: 'silent' }),
  });
  try {
    // What was served is opened as a restart would, and may have a few last events to take in.
    await views.catchUp({ timeoutMs: SETTLE_MS });
    await fresh.catchUp({ timeoutMs: SETTLE_MS });
    const byTable = ({ tables }: Digest) =>
      Object.fromEntries(tables.map(({ name, rows, sha256 }) => [name, `${rows} ${sha256}`]));
    return {
      servedTables: byTable(await views.digest()),
      freshTables: byTable(await fresh.digest()),
    };
  } finally {
    await views.close();
    await fresh.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function theatersOf(events: readonly StoredEvent[]): TheaterPlace[] {
  return events.flatMap((event) => {
    if (event.type !== 'THEATER_OPENED' || event.theater_id === null) return [];
    const { repo_path, worktrees_path, mainline } = event.payload;
    if (repo_path === undefined || worktrees_path === undefined) return [];
    const place = { theaterId: event.theater_id, repoPath: repo_path };
    return [{ ...place, worktreesPath: worktrees_path, mainline: mainline ?? 'main' }];
  });
}

async function artifactDigests(
  theaters: readonly TheaterFacts[],
  names: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, string | null>> {
  const all = new Map<string, string | null>();
  for (const { theaterId, repoPath } of theaters) {
    const found = await digestsAt(repoPath, names.get(theaterId) ?? []);
    for (const [name, digest] of found) all.set(`${theaterId}/${name}`, digest);
  }
  return all;
}

/** The users' messages and the replies that can be read back, whole. */
async function storedObjects(broker: Broker, events: readonly StoredEvent[]) {
  const wanted = new Set<string>();
  for (const event of events) {
    if (event.type === 'RUN_CREATED') {
      for (const { sha256 } of event.payload.inputs ?? []) wanted.add(sha256);
    }
    if (event.type === 'RUN_COMPLETED' && event.payload.reply !== undefined) {
      wanted.add(event.payload.reply.sha256);
    }
  }
  const found = new Set<string>();
  for (const sha256 of wanted) {
    const bytes = await getObject(broker, sha256);
    if (bytes !== null && createHash('sha256').update(bytes).digest('hex') === sha256) {
      found.add(sha256);
    }
  }
  return found;
}

async function deadLetters(broker: Broker): Promise<Dead[]> {
  return (await readStream(broker, 'DEAD')).map(({ seq, text }) => {
    const { channel, code, reason, payload } = JSON.parse(text) as Omit<Dead, 'seq'>;
    return { seq, channel, code, reason, payload };
  });
}

const CONSUMED = ['LEDGER', 'JOBS', 'INTAKE', 'TIMERS', 'FEEDS', 'OUTBOX'] as const;
const LAST_LINES = 3;

/**
 * How far each consumer is and what each process said last: for work that does not end, this tells
 * who it waits for.
 */
export async function standstill({ broker, stateDir }: System): Promise<string[]> {
  const lines: string[] = [];
  for (const stream of CONSUMED) {
    for await (const { name, ...info } of broker.jsm.consumers.list(stream)) {
      const { delivered, ack_floor, num_ack_pending, num_pending, num_redelivered } = info;
      const at = `delivered ${delivered.stream_seq}, acked up to ${ack_floor.stream_seq}`;
      const open = `${num_ack_pending} unacked, ${num_redelivered} redelivered, ${num_pending} to come`;
      lines.push(`${stream}/${name}: ${at}, ${open}, ${info.num_waiting} pulls waiting`);
    }
  }
  const logDir = join(stateDir, 'log');
  for (const name of readdirSync(logDir)) {
    const said = readFileSync(join(logDir, name), 'utf8').trimEnd().split('\n');
    for (const line of said.slice(-LAST_LINES)) lines.push(`${name}: ${line.slice(0, 600)}`);
  }
  return lines;
}

/** The last errors in the logs of all processes. */
export function problemsIn(logDir: string, limit: number): string[] {
  return readdirSync(logDir)
    .filter((name) => name !== 'broker.log')
    .flatMap((name) =>
      readFileSync(join(logDir, name), 'utf8')
        .split('\n')
        .filter((line) => /^\{"level":[56]0/.test(line) || /^\w*Error/.test(line))
        .map((line) => `${name}: ${line.slice(0, 600)}`),
    )
    .slice(-limit);
}
