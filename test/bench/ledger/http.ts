import type { Child } from '../child.ts';
import { openLab } from '../lab.ts';
import { pairRow, type Row } from '../report.ts';
import { inPairs, median, perSecond } from '../stats.ts';
import type { Plan } from './plan.ts';

/** What the load program is asked for, and what it answers. */
export type Load = {
  url: string;
  connections: number;
  durationMs: number;
  tag: string;
  /** Default: POST /events. */
  kind?: 'events' | 'ingest' | 'latest';
  /** Time in the deliveries of `ingest`; default: when the run begins. */
  at?: string;
  /** Requests at most, where it goes by number. */
  limit?: number;
};
export type LoadResult = {
  answered: number;
  /** Of those, deliveries that were known before. */
  duplicates: number;
  durationMs: number;
  p50Ms: number;
  p99Ms: number;
};

const CONNECTIONS = 32;

type Measured = { rate: number; cpuMicros: number; p50Ms: number; p99Ms: number };
type Server = { name: string; child: Child; url: string; seen: Measured[] };

/**
 * POST /events of the ledger role against a bare server that does one publish, each with a broker
 * of its own; once with the role's views, which follow meanwhile, and once without.
 */
export async function benchHttp(plan: Plan): Promise<Row[]> {
  await using lab = openLab(plan.sync);
  const load = await lab.child('load.ts', {});
  const start = async (name: string, file: string, env = {}): Promise<Server> => {
    const { url: NATS_URL } = await lab.broker();
    const IRONCLAW_STATE = await lab.folder();
    const child = await lab.child(file, { NATS_URL, IRONCLAW_STATE, ...env });
    return { name, child, url: await child.ask<string>('url'), seen: [] };
  };
  const bare = await start('bare', 'bare-http.ts');
  const alone = await start('alone', 'ledger-http.ts', { VIEWS: 'off' });
  const role = await start('role', 'ledger-http.ts');

  let round = 0;
  const measure = async (server: Server, durationMs = plan.roundMs): Promise<number> => {
    round += 1;
    const before = await server.child.ask<NodeJS.CpuUsage>('cpu');
    const order: Load = { url: server.url, connections: CONNECTIONS, durationMs, tag: `l${round}` };
    const { answered, durationMs: took, p50Ms, p99Ms } = await load.ask<LoadResult>('run', order);
    const after = await server.child.ask<NodeJS.CpuUsage>('cpu');
    const micros = after.user + after.system - before.user - before.system;
    const rate = perSecond(answered, took);
    server.seen.push({ rate, cpuMicros: micros / answered, p50Ms, p99Ms });
    return rate;
  };
  for (const server of [bare, role, alone]) await measure(server, plan.httpWarmUpMs);
  const against = async (server: Server) => {
    const warmUp = async (): Promise<void> => {
      for (const one of [bare, server]) {
        await measure(one, plan.warmUpMs);
        one.seen = [];
      }
    };
    const rates = await inPairs(
      plan.pairs,
      () => measure(bare),
      () => measure(server),
      warmUp,
    );
    return { rates, note: `${describe(bare)}; ${describe(server)}` };
  };
  const withViews = await against(role);
  const withoutViews = await against(alone);
  const unit = 'requests/s';
  return [
    pairRow(
      { id: 'http', what: 'POST /events, ledger role', unit, goal: 0.7, note: withViews.note },
      withViews.rates,
    ),
    pairRow(
      { id: 'http-endpoint', what: 'POST /events, without views', unit, note: withoutViews.note },
      withoutViews.rates,
    ),
  ];
}

function describe({ name, seen }: Server): string {
  const middle = (pick: (one: Measured) => number) => median(seen.map(pick));
  const cpu = middle((one) => one.cpuMicros).toFixed(0);
  const p50 = middle((one) => one.p50Ms).toFixed(1);
  const p99 = middle((one) => one.p99Ms).toFixed(1);
  return `${name} ${cpu} µs of CPU a request, p50 ${p50} ms, p99 ${p99} ms`;
}
