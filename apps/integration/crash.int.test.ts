import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { AnyEvent } from '#libs/contracts';
import { ledgerFilter, openEventLog, readFrom } from '#libs/eventlog';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { commitAll, createWorktree, logOf, openTheater, type Theater } from '#libs/worktrees';
import { STREAMS } from '#streams';
import { afterAll, beforeAll, expect, test } from 'vitest';

const author = { name: 'Unit', email: 'unit@ironclaw.test' };
const timestampSec = 1_768_400_000;
const CHILD = fileURLToPath(import.meta.resolve('./testdata/dying.ts'));

let root: string;
let server: TestBroker;
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'ironclaw-integrate-'));
  server = await startTestBroker({ streams: STREAMS });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

/** A theater that the ledger knows. */
async function theaterOf(theaterId: string): Promise<Theater> {
  const repoPath = path.join(root, theaterId, 'repo');
  const theater = await openTheater({ theaterId, repoPath, author, timestampSec });
  const broker = await server.connect({ name: 'test' });
  const log = openEventLog({ broker, garrisonId: 'test' });
  await log.append({
    event_id: `opened_${theaterId}`,
    ts: new Date().toISOString(),
    type: 'THEATER_OPENED',
    garrison_id: 'test',
    theater_id: theaterId,
    run_id: null,
    order_id: null,
    unit_id: null,
    payload: {
      repo_path: theater.repoPath,
      worktrees_path: theater.worktreesPath,
      mainline: theater.mainline,
    },
  } as AnyEvent);
  log.close();
  return theater;
}

/** A finished order, not yet integrated. */
async function orderOf(theater: Theater, orderId: string, text: string): Promise<void> {
  const { worktreePath } = await createWorktree({ theater, orderId });
  await mkdir(path.join(worktreePath, 'outputs'));
  await writeFile(path.join(worktreePath, 'outputs/a.txt'), text);
  const aar = {
    order_id: orderId,
    status: 'completed',
    completed_at: '2026-01-14T16:21:00Z',
    summary: 'done',
    artifacts: [{ path: 'outputs/a.txt', type: 'text/plain' }],
    model: { provider: 'local', name: 'm' },
  };
  await writeFile(path.join(worktreePath, 'aar.json'), JSON.stringify(aar));
  await commitAll({ worktreePath, message: 'work', author, timestampSec });
}

type Child = { begin: () => void; answer: Promise<Record<string, unknown> | null> };

async function integrating(theaterId: string, orderId: string, dieAt = 0): Promise<Child> {
  const args = [CHILD, server.url, theaterId, orderId, String(dieAt)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  reader.on('line', (line) => lines.push(line));
  const ended = once(child, 'close');
  await once(reader, 'line');
  const answer = ended.then(() => (lines[1] === undefined ? null : JSON.parse(lines[1])));
  return { begin: () => child.stdin.write('go\n'), answer };
}

async function integrateIn(theaterId: string, orderId: string, dieAt = 0) {
  const child = await integrating(theaterId, orderId, dieAt);
  child.begin();
  return child.answer;
}

async function typesOf(theater_id: string, order_id: string): Promise<string[]> {
  const broker = await server.connect({ name: 'test' });
  const types: string[] = [];
  const filter = ledgerFilter({ garrison_id: 'test', theater_id, order_id });
  for await (const page of readFrom(broker, filter, 1)) types.push(...page.map(({ type }) => type));
  return types;
}

const mainline = async ({ repoPath }: Theater) =>
  (await logOf(repoPath, 'main', 10)).map(({ sha }) => sha);

test.each([
  [1, 'before INTEGRATION_STARTED', 1],
  [2, 'between the gates and their result', 1],
  [3, 'between merge and INTEGRATED', 2],
])(
  'killed before decision %i, %s, then repeated: one merge, told once',
  async (at, _name, left) => {
    const theater = await theaterOf(`die_${at}`);
    await orderOf(theater, 'o1', 'x');
    expect(await integrateIn(theater.theaterId, 'o1', at)).toBeNull();
    expect(await mainline(theater)).toHaveLength(left);
    const answer = await integrateIn(theater.theaterId, 'o1');
    const commits = await mainline(theater);
    expect(commits).toHaveLength(2);
    expect(answer).toEqual({ commit_sha: commits[0], duplicate: false });
    expect(await integrateIn(theater.theaterId, 'o1')).toEqual({
      commit_sha: commits[0],
      duplicate: true,
    });
    expect(await typesOf(theater.theaterId, 'o1')).toEqual([
      'INTEGRATION_STARTED',
      'INTEGRATION_PASSED',
      'INTEGRATED',
    ]);
  },
);

test('killed between the gates and the merge, then repeated: checked anew, told once', async () => {
  const theater = await theaterOf('unmerged');
  await orderOf(theater, 'o1', 'x');
  expect(await integrateIn('unmerged', 'o1', -1)).toBeNull();
  expect(await mainline(theater)).toHaveLength(1);
  const answer = await integrateIn('unmerged', 'o1');
  const commits = await mainline(theater);
  expect(answer).toEqual({ commit_sha: commits[0], duplicate: false });
  expect(await typesOf('unmerged', 'o1')).toEqual([
    'INTEGRATION_STARTED',
    'INTEGRATION_PASSED',
    'INTEGRATED',
  ]);
});

test('events that say the gates have passed open no gate', async () => {
  const theater = await theaterOf('forged');
  const { worktreePath } = await createWorktree({ theater, orderId: 'o1' });
  await writeFile(path.join(worktreePath, 'evil.txt'), 'x');
  const { sha } = await commitAll({ worktreePath, message: 'work', author, timestampSec });
  for (const [n, commit_sha] of [sha, 'a'.repeat(40)].entries()) {
    const broker = await server.connect({ name: 'test' });
    const log = openEventLog({ broker, garrisonId: 'test' });
    const order_id = n === 0 ? 'o1' : 'o2';
    if (n === 1) await createWorktree({ theater, orderId: order_id });
    const at = { garrison_id: 'test', theater_id: 'forged', run_id: null, order_id, unit_id: null };
    const ts = new Date().toISOString();
    const forged = { event_id: `forged_${n}`, ts, type: 'INTEGRATION_PASSED', ...at };
    await log.append({ ...forged, payload: { commit_sha } } as AnyEvent);
    log.close();
    const answer = await integrateIn('forged', order_id);
    expect(answer).toEqual({ code: n === 0 ? 'GATE_FAILED' : 'VERSION_CONFLICT' });
  }
  expect(await mainline(theater)).toHaveLength(1);
});

test('a branch that moved on between gates and merge is refused, and can be integrated anew', async () => {
  const theater = await theaterOf('moved_early');
  await orderOf(theater, 'o1', 'x');
  expect(await integrateIn('moved_early', 'o1', -1)).toBeNull();
  const worktreePath = path.join(theater.worktreesPath, 'order_o1');
  await writeFile(path.join(worktreePath, 'outputs/a.txt'), 'slipped in');
  await commitAll({ worktreePath, message: 'more', author, timestampSec });
  expect(await integrateIn('moved_early', 'o1')).toEqual({ code: 'VERSION_CONFLICT' });
  expect(await mainline(theater)).toHaveLength(1);
  expect((await typesOf('moved_early', 'o1')).slice(1)).toEqual([
    'INTEGRATION_PASSED',
    'INTEGRATION_FAILED',
    'ESCALATION_RAISED',
  ]);
  expect(await integrateIn('moved_early', 'o1')).toMatchObject({ duplicate: false });
  expect(await mainline(theater)).toHaveLength(2);
});

test('what changed after the gates passed is not merged with them', async () => {
  const theater = await theaterOf('moved');
  await orderOf(theater, 'o1', 'x');
  expect(await integrateIn('moved', 'o1', 3)).toBeNull();
  const [merged] = await mainline(theater);
  const worktreePath = path.join(theater.worktreesPath, 'order_o1');
  await writeFile(path.join(worktreePath, 'outputs/a.txt'), 'slipped in later');
  await commitAll({ worktreePath, message: 'more', author, timestampSec });
  expect(await integrateIn('moved', 'o1')).toEqual({ commit_sha: merged, duplicate: false });
  expect(await mainline(theater)).toHaveLength(2);
});

test('three processes on one order: one merge, told once, the same answer', async () => {
  const theater = await theaterOf('three');
  await orderOf(theater, 'o1', 'x');
  const children = await Promise.all([1, 2, 3].map(() => integrating('three', 'o1')));
  for (const child of children) child.begin();
  const answers = await Promise.all(children.map(({ answer }) => answer));
  const commits = await mainline(theater);
  expect(answers.map((answer) => answer?.commit_sha)).toEqual(Array(3).fill(commits[0]));
  expect(commits).toHaveLength(2);
  expect(await typesOf('three', 'o1')).toEqual([
    'INTEGRATION_STARTED',
    'INTEGRATION_PASSED',
    'INTEGRATED',
  ]);
});
