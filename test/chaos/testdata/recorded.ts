import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StoredEvent } from '#libs/contracts';
import { eventScript } from '#libs/testing';
import { MILESTONE_KINDS, milestoneOf } from '../../../apps/outbox/milestones.ts';
import { artifactNames, type Evidence, foldHistory, type Served } from '../check/mod.ts';
import { digestsAt, git, lookAtTheater, type TheaterPlace } from '../git-facts.ts';
import { newOracle, type Oracle, rawEvents } from '../oracle.ts';
import { envelopeOf } from '../signed.ts';

const MESSAGE = 'Sum up the call';
const ARTIFACT = 'outputs/r1/draft.md';
const TEXT = 'A draft\n';
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** One small run that went well, with a real repository, before anything was done to it. */
export type Recorded = AsyncDisposable & {
  readonly place: TheaterPlace;
  /** Collects what the checker judges, from the repository as it is now. */
  evidence(): Promise<Evidence>;
};

export async function recordRun(): Promise<Recorded> {
  const folder = mkdtempSync(join(tmpdir(), 'ironclaw-checker-'));
  const place: TheaterPlace = {
    theaterId: 'demo',
    repoPath: join(folder, 'repo'),
    worktreesPath: join(folder, 'worktrees'),
    mainline: 'main',
  };
  mkdirSync(place.worktreesPath);
  const shas = await makeRepository(place);
  const events = storyOf(place, shas);
  return {
    place,
    evidence: () => collectOf(place, events),
    [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

type Shas = { head: string; merged: string };

/** A commit on a branch, and its promotion. */
async function makeRepository({ repoPath }: TheaterPlace): Promise<Shas> {
  mkdirSync(join(repoPath, 'outputs', 'r1'), { recursive: true });
  const run = (...args: string[]): Promise<string> =>
    git(repoPath, '-c', 'user.name=A', '-c', 'user.email=a@b', ...args);
  await run('init', '--quiet', '--initial-branch=main');
  await run('commit', '--quiet', '--allow-empty', '-m', 'Open the theater');
  await run('checkout', '--quiet', '-b', 'order/o1');
  writeFileSync(join(repoPath, ARTIFACT), TEXT);
  await run('add', '.');
  await run('commit', '--quiet', '-m', 'Order o1 completed');
  const head = await run('rev-parse', 'HEAD');
  await run('checkout', '--quiet', 'main');
  await run('merge', '--quiet', '--no-ff', '-m', 'Integrate order o1\n\nOrder: o1', 'order/o1');
  return { head, merged: await run('rev-parse', 'HEAD') };
}

function storyOf({ repoPath, worktreesPath, mainline }: TheaterPlace, shas: Shas): StoredEvent[] {
  const { head, merged } = shas;
  const script = eventScript({ theater_id: 'demo', run_id: 'r1' });
  const inputs = [{ name: 'message.md', sha256: sha256(MESSAGE), bytes: MESSAGE.length }];
  const path = join(worktreesPath, 'order_o1');
  const worktree = { worktree_path: path, branch: 'order/o1' };
  const unit = { unit_id: 'unit-1' };
  script.add(
    'THEATER_OPENED',
    { repo_path: repoPath, worktrees_path: worktreesPath, mainline },
    { run_id: null },
  );
  script.add('RUN_CREATED', { request_id: 'chat-1', objective: MESSAGE, inputs, autopilot: true });
  script.add('ORDER_CREATED', { constraints: constraints(1) });
  script.add('RUN_PLANNED', { order_ids: ['o1'], reply: [{ order_id: 'o1', path: ARTIFACT }] });
  script.add('WORKTREE_CREATED', worktree);
  script.add('WORKTREE_READY', worktree);
  script.add('ORDER_ENQUEUED', { attempt: 1 });
  script.add('ORDER_CLAIMED', { attempt: 1 }, unit);
  script.add('ORDER_STARTED', { attempt: 1 }, unit);
  const artifact = { attempt: 1, path: ARTIFACT, type: 'text/markdown', sha256: sha256(TEXT) };
  script.add('ARTIFACT_WRITTEN', artifact, unit);
  script.add('AAR_WRITTEN', { attempt: 1, path: 'aar.json', status: 'completed' }, unit);
  script.add('ORDER_COMPLETED', { attempt: 1, commit_sha: head }, unit);
  script.add('INTEGRATION_READY', { attempt: 1 });
  script.add('INTEGRATION_STARTED', { attempt: 1 });
  script.add('INTEGRATION_PASSED', { attempt: 1, commit_sha: head });
  script.add('INTEGRATED', { attempt: 1, commit_sha: merged });
  script.add('RUN_COMPLETED', { reply: { sha256: sha256(TEXT), bytes: TEXT.length } });
  script.add('WORKTREE_ARCHIVED', { archive_path: '/tmp/o1.tar' });
  script.add('WORKTREE_REMOVED', {});
  const seq = script.events.length;
  const raw = rawEvents('event', 'raw-1', 'g').map((event, index) => ({
    ...event,
    seq: seq + 1 + index,
  }));
  return [...script.events, ...(raw as unknown as StoredEvent[])];
}

const constraints = (max_retries: number) => ({
  budget_seconds: 60,
  max_retries,
  tool_policy: { network: false, fs_allowlist: [] },
});

async function collectOf(place: TheaterPlace, story: readonly StoredEvent[]): Promise<Evidence> {
  const events = structuredClone(story) as StoredEvent[];
  const { orders, runs } = foldHistory(events);
  const oracle = newOracle();
  const chat = { requestId: 'chat-1', theater: 'demo', playbook: 'default', message: MESSAGE };
  oracle.chats.set('chat-1', { chat, acks: ['r1', 'r1'], refusals: [] });
  const { seq = 0, ...raw } = structuredClone(events.at(-1)) ?? {};
  const event = raw as Parameters<typeof oracle.appends.set>[1]['event'];
  oracle.appends.set(event.event_id, { event, acks: [{ seq, duplicate: false }], refusals: [] });
  const told = tellAll(events, oracle);
  const digests = await digestsAt(place.repoPath, artifactNames(orders.values()).get('demo') ?? []);
  const rows = (map: ReadonlyMap<string, { status: string; version: number }>): Served[] =>
    [...map].map(([id, { status, version }]) => ({ id, status, version, text: status }));
  const tables = { orders: '2 abc', runs: '1 def' };
  return {
    oracle,
    events,
    messages: events.length,
    lastSeq: events.length,
    quietSeq: events.length,
    theaters: [await lookAtTheater(place)],
    digests: new Map([...digests].map(([name, digest]) => [`demo/${name}`, digest])),
    objects: new Set([sha256(MESSAGE), sha256(TEXT)]),
    dead: [forgedLetter],
    ...told,
    queues: { JOBS: 0, INTAKE: 0 },
    views: {
      runs: rows(runs),
      orders: rows(orders),
      rebuiltRuns: rows(runs),
      rebuiltOrders: rows(orders),
      servedTables: tables,
      freshTables: { ...tables },
      poison: 0,
    },
    processes: { left: [], killed: [], falls: [] },
  };
}

/** Two milestones from outside, of which one is forged, and those of the events themselves. */
function tellAll(events: readonly StoredEvent[], oracle: Oracle) {
  const envelope = envelopeOf('told-1');
  const answers = ['200 accepted', '200 duplicate'];
  oracle.deliveries.set('told-1', { envelope, way: 'http', forged: false, answers });
  const forged = envelopeOf('forged-1');
  const sent = { envelope: forged, way: 'queue', forged: true, answers: ['queued'] } as const;
  oracle.deliveries.set('forged-1', { ...sent, answers: [...sent.answers] });
  const own = events.flatMap((event) => milestoneOf(event, MILESTONE_KINDS) ?? []);
  const feed = [
    { key: 'told-1', item: envelope.event },
    ...own.map((item) => ({ key: `key of ${item.milestoneId}`, item })),
  ].map((one, index) => ({ ...one, channel: 'milestones', seq: index + 1 }));
  const outbox = feed.slice(1).map(({ key, channel, item }) => ({
    id: `out.v1.${key}`,
    channel,
    key,
    itemId: item.milestoneId,
    state: 'delivered',
  }));
  return { feed, feedLastSeq: feed.length, outbox };
}

const forgedLetter = {
  seq: 1,
  channel: 'milestones',
  code: 'signature',
  reason: 'invalid signature',
  payload: JSON.stringify(envelopeOf('forged-1')),
};
