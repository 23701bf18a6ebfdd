import type { TestBroker } from '#libs/testing';
import type { Child } from '../child.ts';
import { type Lab, openLab } from '../lab.ts';
import type { Load, LoadResult } from '../ledger/http.ts';
import { type Plan, planFor } from '../ledger/plan.ts';
import type { BenchOptions } from '../options.ts';
import { pairRow, type Row } from '../report.ts';
import { inPairs, perSecond } from '../stats.ts';
import { BENCH_SECRET } from './body.ts';

const CONNECTIONS = 32;
const READERS = 32;
const NO_END_MS = 3_600_000;

type Server = { broker: TestBroker; child: Child; url: string };

/** `say` tells how far it is. */
export async function benchIngest(
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Row[]> {
  const plan = planFor(options);
  await using lab = openLab(plan.sync);
  say('posts …');
  const posts = await benchPosts(lab, plan);
  say('reads …');
  const reads = await benchReads(lab, plan);
  say(`${options.keys} keys twice …`);
  return [posts, reads, await benchTwice(lab, options.keys)];
}

async function start(lab: Lab, file: string): Promise<Server> {
  const broker = await lab.broker();
  const env = { NATS_URL: broker.url, MILESTONE_SIGNING_SECRET: BENCH_SECRET };
  const child = await lab.child(file, { ...env, IRONCLAW_STATE: await lab.folder() });
  return { broker, child, url: await child.ask<string>('url') };
}

let runs = 0;
/** One run of the load program; gives the requests per second. */
async function run(load: Child, order: Omit<Load, 'tag'>): Promise<number> {
  runs += 1;
  const done = await load.ask<LoadResult>('run', { ...order, tag: `r${runs}` });
  return perSecond(done.answered, done.durationMs);
}

/** Signed posts: the intake role, with its feeds, against a bare server. */
async function benchPosts(lab: Lab, plan: Plan): Promise<Row> {
  const load = await lab.child('load.ts', {});
  const [bare, ours] = [await start(lab, 'bare-ingest.ts'), await start(lab, 'intake-http.ts')];
  const measure = ({ url }: Server, durationMs = plan.roundMs) =>
    run(load, { url, connections: CONNECTIONS, durationMs, kind: 'ingest' });
  for (const server of [bare, ours]) await measure(server, plan.httpWarmUpMs);
  const pairs = await inPairs(
    plan.pairs,
    () => measure(bare),
    () => measure(ours),
    async () => {
      for (const server of [bare, ours]) await measure(server, plan.warmUpMs);
    },
  );
  const what = 'signed POST, intake role';
  return pairRow({ id: 'ingest', what, unit: 'requests/s', goal: 0.7 }, pairs);
}

/** Reads of the latest milestones: alone, and while posts come as fast as they can. */
async function benchReads(lab: Lab, plan: Plan): Promise<Row> {
  const [reader, writer] = [await lab.child('load.ts', {}), await lab.child('load.ts', {})];
  const { url } = await start(lab, 'intake-http.ts');
  const read = (durationMs = plan.roundMs) =>
    run(reader, { url, connections: READERS, durationMs, kind: 'latest' });
  const write = (durationMs: number) =>
    run(writer, { url, connections: CONNECTIONS, durationMs, kind: 'ingest' });
  await write(plan.httpWarmUpMs);
  await read(plan.warmUpMs);
  const written: number[] = [];
  const pairs = await inPairs(
    plan.pairs,
    () => read(),
    async () => {
      const [reads, writes] = await Promise.all([read(), write(plan.roundMs)]);
      written.push(writes);
      return reads;
    },
    async () => undefined,
  );
  const least = Math.round(Math.min(...written));
  const note = `raw is without posts; meanwhile at least ${least} posts/s were accepted`;
  return pairRow({ id: 'latest', what: 'reads while posts come', unit: 'reads/s', note }, pairs);
}

/** Every key once in the stream, and what the process holds after. */
async function benchTwice(lab: Lab, keys: number): Promise<Row> {
  const load = await lab.child('load.ts', {});
  const { broker, child, url } = await start(lab, 'intake-http.ts');
  const all = { url, connections: CONNECTIONS, durationMs: NO_END_MS, limit: keys, tag: 'twice' };
  const before = await child.ask<number>('rss');
  const [first, second] = await load.ask<LoadResult[]>('twice', { ...all, kind: 'ingest' });
  if (first === undefined || second === undefined) throw new Error('nothing was sent');
  const after = await child.ask<number>('rss');
  const stored = (await (await broker.connect()).jsm.streams.info('FEEDS')).state.messages;
  if (stored !== keys || first.duplicates !== 0 || second.duplicates !== keys) {
    const seen = `${stored} stored, ${first.duplicates} and ${second.duplicates} duplicates`;
    throw new Error(`of ${keys} keys sent twice: ${seen}`);
  }
  const mib = (bytes: number): string => (bytes / 1024 / 1024).toFixed(0);
  const note =
    `raw is the first pass: ${keys} accepted, then ${keys} duplicates, ${stored} in the stream; ` +
    `memory of the role ${mib(before)} MiB before, ${mib(after)} MiB after`;
  return pairRow(
    { id: 'twice', what: 'every key again', unit: 'requests/s', note },
    {
      raw: [perSecond(first.answered, first.durationMs)],
      ours: [perSecond(second.answered, second.durationMs)],
    },
  );
}
