import { createHash } from 'node:crypto';
import { applyStreams, type Broker, type ConnectOptions } from '#libs/broker';
import type { AnyEvent, StoredEvent } from '#libs/contracts';
import { type EventLog, openEventLog, readFrom } from '#libs/eventlog';
import { type ClusterNode, type TestCluster, waitFor } from '#libs/testing';
import { STREAMS, streamsWithReplicas } from '#streams';
import { createInbox, errors } from 'nats';

/** Three servers, and how one of them is cut off from the others here. */
export type Target = {
  cluster: TestCluster;
  /** So that it can do nothing with the others until it is healed. */
  cutOff(node: ClusterNode): Promise<void>;
  heal(node: ClusterNode): Promise<void>;
  /** Who may change streams; default: anybody. */
  admin?: Partial<ConnectOptions>;
};

/** Creates every stream on three servers and waits until all have them. */
export async function applyThreefold({ cluster, admin }: Target): Promise<void> {
  const broker = await cluster.connect(admin);
  await applyStreams(broker.jsm, streamsWithReplicas(3));
  await settled(broker);
  await broker.close();
}

/** Waits until every stream has a leader and no replica of it is behind. */
export async function settled(broker: Broker, timeoutMs = 30_000): Promise<void> {
  const level = async (stream: string): Promise<boolean> => {
    const { cluster } = await broker.jsm.streams.info(stream);
    const replicas = cluster?.replicas ?? [];
    if (cluster?.leader === undefined || replicas.length !== 2) return false;
    return replicas.every(({ current, offline }) => current && offline !== true);
  };
  const all = async (): Promise<boolean> => {
    const states = await Promise.all(STREAMS.map(({ name }) => level(name)));
    return states.every(Boolean);
  };
  await waitFor(all, { timeoutMs, intervalMs: 200 });
}

/** The node that leads a stream. */
export async function leaderOf(
  target: Target,
  broker: Broker,
  stream: string,
): Promise<ClusterNode> {
  const { nodes } = target.cluster;
  return waitFor(
    async () => {
      const { cluster } = await broker.jsm.streams.info(stream);
      return nodes.find(({ name }) => name === cluster?.leader);
    },
    { timeoutMs: 20_000, intervalMs: 100 },
  );
}

/** A log of its own connection, to all nodes or to one. */
export async function openLog(target: Target, url = target.cluster.url): Promise<EventLog> {
  return openEventLog({ broker: await target.cluster.connect({ url }), garrisonId: 'g' });
}

/** An event of an order that differs by id and text alone. */
export function fact(order_id: string, event_id: string, text = 'a fact'): AnyEvent {
  return {
    event_id,
    ts: '2026-01-14T16:21:00Z',
    type: 'ORDER_BLOCKED',
    garrison_id: 'g',
    theater_id: 't',
    run_id: 'r',
    order_id,
    unit_id: null,
    payload: { reason: text },
  } as AnyEvent;
}

/** All events of a filter, from one replica or another. */
export async function readAll(broker: Broker, filter: string): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  for await (const page of readFrom(broker, filter, 1)) events.push(...page);
  return events;
}

/**
 * What each of the three has on its own disk: the other two are frozen while it is asked, so that
 * nobody can answer for it.
 */
export async function readReplicas(target: Target, filter: string): Promise<StoredEvent[][]> {
  const { nodes, connect } = target.cluster;
  const replicas: StoredEvent[][] = [];
  for (const node of nodes) {
    const others = nodes.filter((other) => other !== node);
    const broker = await connect({ url: node.url });
    try {
      await Promise.all(others.map((other) => other.freeze()));
      replicas.push(await readAlone(broker, filter));
    } finally {
      await Promise.all(others.map((other) => other.thaw()));
      await broker.close();
    }
  }
  return replicas;
}

const PAGE = 5_000;
const SILENCE_MS = 150;
const TRIES_MAX = 100;

/**
 * Reads the ledger of the one server that is awake. The servers share such requests by lot, so one
 * that nobody answers has gone to a frozen one, and is made again.
 */
async function readAlone({ nc }: Broker, filter: string): Promise<StoredEvent[]> {
  const { inboxPrefix } = (nc as { options?: { inboxPrefix?: string } }).options ?? {};
  const events: StoredEvent[] = [];
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const seq = (events.at(-1)?.seq ?? 0) + 1;
    const inbox = createInbox(inboxPrefix);
    const answers = nc.subscribe(inbox, { timeout: SILENCE_MS });
    const query = { seq, next_by_subj: filter, batch: PAGE };
    nc.publish('$JS.API.DIRECT.GET.LEDGER', JSON.stringify(query), { reply: inbox });
    let ended = false;
    try {
      for await (const { headers, data } of answers) {
        const code = headers?.code ?? 0;
        if (code === 404) return events;
        ended = code !== 0;
        if (ended) break;
        const at = Number(headers?.get('Nats-Sequence'));
        events.push({ ...(JSON.parse(new TextDecoder().decode(data)) as AnyEvent), seq: at });
      }
    } catch (error) {
      if (!(error instanceof errors.TimeoutError)) throw error;
    }
    answers.unsubscribe();
  }
  throw new Error(`no answer of ${nc.info?.server_name} alone`);
}

/** One text for a list of events, to compare replicas of thousands. */
export function digestOf(events: readonly StoredEvent[]): string {
  return createHash('sha256').update(JSON.stringify(events)).digest('hex');
}
