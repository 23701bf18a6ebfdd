import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EventType, StoredEvent } from '#libs/contracts';
import { check, type Evidence } from './check/mod.ts';
import { git } from './git-facts.ts';
import { type Recorded, recordRun } from './testdata/recorded.ts';

// A checker that finds nothing proves nothing unless it finds what is there. A small record of a run
// that went well is spoilt in one way at a time, and the checker has to name what is wrong.

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Spoilt = Mutable<Evidence> & { events: StoredEvent[] };

const invariants = (evidence: Evidence): string[] => [
  ...new Set(check(evidence).map(({ invariant }) => invariant)),
];

let recorded: Recorded;
beforeAll(async () => {
  recorded = await recordRun();
});
afterAll(() => recorded[Symbol.asyncDispose]());

test('a run that went well violates nothing', async () => {
  expect(check(await recorded.evidence())).toEqual([]);
});

/** Puts an event at the end of the ledger, of the one order of the record. */
function add(evidence: Spoilt, type: EventType, payload: object, more: Partial<StoredEvent> = {}) {
  const seq = (evidence.events.at(-1)?.seq ?? 0) + 1;
  const base = evidence.events.find((event) => event.order_id === 'o1') as StoredEvent;
  const event = { ...base, event_id: `added-${seq}`, type, payload, seq, ...more } as StoredEvent;
  evidence.events = [...evidence.events, event];
  evidence.messages += 1;
  evidence.lastSeq += 1;
}

function drop(evidence: Spoilt, type: EventType): void {
  evidence.events = evidence.events.filter((event) => event.type !== type);
}

function payloadOf(evidence: Spoilt, type: EventType): Record<string, unknown> {
  const event = evidence.events.find((one) => one.type === type);
  if (event === undefined) throw new Error(`no ${type}`);
  return event.payload;
}

/** What is done to the record, and the invariant that has to be named for it. */
const SPOILERS: [what: string, invariant: string, spoil: (evidence: Spoilt) => void][] = [
  ['an acknowledged event is missing', 'acked', (e) => void e.events.pop()],
  [
    'an event is stored with other content',
    'acked',
    (e) => {
      payloadOf(e, 'ORDER_CANCELLED').reason = 'something else';
    },
  ],
  [
    'an event is stored elsewhere than told',
    'acked',
    (e) => {
      const [known] = e.oracle.appends.values();
      if (known?.acks[0] !== undefined) known.acks[0].seq -= 1;
    },
  ],
  [
    'an event was new twice',
    'acked',
    (e) => {
      const [known] = e.oracle.appends.values();
      known?.acks.push(...known.acks);
    },
  ],
  [
    'a queued event was lost',
    'acked',
    (e) => {
      const [known] = e.oracle.appends.values();
      if (known !== undefined) {
        e.oracle.queued.set('q', { event: { ...known.event, event_id: 'lost' }, acks: 1 });
      }
    },
  ],
  [
    'queued bytes are in no dead letter',
    'acked',
    (e) => {
      e.oracle.queued.set('q-9', { event: null, acks: 1 });
    },
  ],
  [
    'an id is stored twice',
    'unique ids',
    (e) => {
      const { event_id } = e.events.at(-1) as StoredEvent;
      add(e, 'UNIT_SIGNAL', {}, { event_id });
    },
  ],
  [
    'a message is no event',
    'unique ids',
    (e) => {
      e.messages += 1;
    },
  ],
  [
    'a message was deleted',
    'unique ids',
    (e) => {
      e.lastSeq += 1;
    },
  ],
  [
    'a view serves another status',
    'views',
    (e) => {
      e.views = { ...e.views, runs: e.views.runs.map((row) => ({ ...row, status: 'OPEN' })) };
    },
  ],
  [
    'a view lacks an order',
    'views',
    (e) => {
      e.views = { ...e.views, orders: e.views.orders.slice(1) };
    },
  ],
  [
    'a rebuilt view differs',
    'views',
    (e) => {
      e.views = { ...e.views, rebuiltOrders: e.views.orders.map((row) => ({ ...row, text: '?' })) };
    },
  ],
  [
    'a table differs from a fresh one',
    'views',
    (e) => {
      e.views = { ...e.views, freshTables: { ...e.views.freshTables, orders: '1 abc' } };
    },
  ],
  [
    'an event could not be applied',
    'views',
    (e) => {
      e.views = { ...e.views, poison: 1 };
    },
  ],
  ['a run never ends', 'terminal', (e) => drop(e, 'RUN_COMPLETED')],
  [
    'an order never ends',
    'terminal',
    (e) => {
      add(
        e,
        'ORDER_CREATED',
        { constraints: payloadOf(e, 'ORDER_CREATED').constraints },
        {
          order_id: 'o2',
        },
      );
    },
  ],
  ['a run is complete without its order', 'terminal', (e) => drop(e, 'INTEGRATED')],
  [
    'a reply is lost',
    'terminal',
    (e) => {
      e.objects = new Set([...e.objects].slice(0, 1));
    },
  ],
  [
    'an order is completed twice',
    'completed once',
    (e) => {
      drop(e, 'INTEGRATED');
      drop(e, 'INTEGRATION_PASSED');
      add(e, 'INTEGRATION_FAILED', { attempt: 1, gate: 'aar' });
      add(e, 'ORDER_REISSUED', { attempt: 2 });
      add(e, 'ORDER_COMPLETED', { attempt: 2 });
      add(e, 'ORDER_COMPLETED', { attempt: 2 }, { unit_id: 'unit-2' });
    },
  ],
  [
    'an attempt has two owners',
    'completed once',
    (e) => {
      const at = e.events.findIndex(({ type }) => type === 'ORDER_STARTED');
      add(e, 'ORDER_CLAIMED', { attempt: 1 }, { unit_id: 'unit-2' });
      e.events.splice(at, 0, ...e.events.splice(-1));
      e.events = e.events.map((event, index) => ({ ...event, seq: index + 1 }));
    },
  ],
  [
    'an order is tried too often',
    'attempts',
    (e) => {
      drop(e, 'INTEGRATED');
      drop(e, 'INTEGRATION_PASSED');
      add(e, 'INTEGRATION_FAILED', { attempt: 1, gate: 'aar' });
      add(e, 'ORDER_REISSUED', { attempt: 2 });
      add(e, 'ORDER_FAILED', { attempt: 2 });
      add(e, 'ORDER_REISSUED', { attempt: 3 });
      add(e, 'ORDER_CANCELLED', {});
    },
  ],
  [
    'a late report of an order that was promoted',
    'anomalies',
    (e) => {
      add(e, 'ORDER_FAILED', { attempt: 1 }, { unit_id: 'unit-1' });
    },
  ],
  [
    'a report of an attempt that is over',
    'anomalies',
    (e) => {
      add(e, 'ORDER_COMPLETED', { attempt: 0 });
    },
  ],
  [
    'a sha that is not on the mainline',
    'integrated',
    (e) => {
      payloadOf(e, 'INTEGRATED').commit_sha = 'a'.repeat(40);
    },
  ],
  [
    'another commit was merged than was checked',
    'integrated',
    (e) => {
      payloadOf(e, 'INTEGRATION_PASSED').commit_sha = 'a'.repeat(40);
    },
  ],
  [
    'an artifact is another than told',
    'integrated',
    (e) => {
      payloadOf(e, 'ARTIFACT_WRITTEN').sha256 = 'b'.repeat(64);
    },
  ],
  [
    'an artifact was never written',
    'integrated',
    (e) => {
      payloadOf(e, 'ARTIFACT_WRITTEN').path = 'outputs/r1/other.md';
    },
  ],
  ['a promotion that no event tells', 'integrated', (e) => drop(e, 'INTEGRATED')],
  ['the ledger knows a worktree that stays', 'worktrees', (e) => drop(e, 'WORKTREE_REMOVED')],
  [
    'a unit is left',
    'processes',
    (e) => {
      e.processes = { ...e.processes, left: ['4711 node main.mjs'] };
    },
  ],
  [
    'a process had to be killed at the end',
    'processes',
    (e) => {
      e.processes = { ...e.processes, killed: ['worker-1'] };
    },
  ],
  [
    'a process fell over',
    'processes',
    (e) => {
      const fall = { member: 'co-1', atMs: 1, how: 'exit code 1', reason: '', ready: true };
      e.processes = { ...e.processes, falls: [fall] };
    },
  ],
  [
    'a job is left in the queue',
    'queues',
    (e) => {
      e.queues = { ...e.queues, JOBS: 1 };
    },
  ],
  [
    'an event was given up',
    'dead letters',
    (e) => {
      e.dead = [{ seq: 1, channel: 'reactor-co', code: 'INTERNAL', reason: 'x', payload: '' }];
    },
  ],
  [
    'a chat has no run',
    'chats',
    (e) => {
      payloadOf(e, 'RUN_CREATED').request_id = 'another';
    },
  ],
  [
    'a chat has two runs',
    'chats',
    (e) => {
      const { payload } = e.events.find(({ type }) => type === 'RUN_CREATED') as StoredEvent;
      add(e, 'RUN_CREATED', payload, { run_id: 'r2', order_id: null });
    },
  ],
  [
    'a chat was told of another run',
    'chats',
    (e) => {
      e.oracle.chats.get('chat-1')?.acks.push('r2');
    },
  ],
  [
    'a chat was never acknowledged',
    'chats',
    (e) => {
      e.oracle.chats.get('chat-1')?.acks.splice(0);
    },
  ],
  [
    'a message is lost',
    'chats',
    (e) => {
      e.objects = new Set([...e.objects].slice(1));
    },
  ],
  ['a cancelled run went on', 'chats', (e) => void e.oracle.cancelled.add('r1')],
];

test.each(SPOILERS)('%s: %s', async (_what, invariant, spoil) => {
  const evidence = (await recorded.evidence()) as Spoilt;
  spoil(evidence);
  expect(invariants(evidence)).toContain(invariant);
});

describe('what lies in the repository', () => {
  /** Spoils a repository of its own. */
  async function spoilt(spoil: (repo: Recorded) => Promise<unknown>): Promise<string[]> {
    await using own = await recordRun();
    await spoil(own);
    return invariants(await own.evidence());
  }

  test('a mainline that was set back', async () => {
    const found = await spoilt(({ place }) => git(place.repoPath, 'reset', '--hard', 'HEAD^'));
    expect(found).toContain('integrated');
  });

  test('an order that was promoted twice', async () => {
    const found = await spoilt(({ place: { repoPath } }) =>
      git(
        repoPath,
        '-c',
        'user.name=A',
        '-c',
        'user.email=a@b',
        'commit',
        '--allow-empty',
        '--message=Integrate order o1 again\n\nOrder: o1',
      ),
    );
    expect(found).toContain('integrated');
  });

  test('a worktree that was left', async () => {
    const found = await spoilt(({ place: { repoPath, worktreesPath } }) =>
      git(repoPath, 'worktree', 'add', join(worktreesPath, 'order_o1'), 'order/o1'),
    );
    expect(found).toContain('worktrees');
  });

  test('a worktree that is locked, though nobody set it aside', async () => {
    const found = await spoilt(({ place: { repoPath, worktreesPath } }) =>
      git(repoPath, 'worktree', 'add', '--lock', join(worktreesPath, 'order_o1'), 'order/o1'),
    );
    expect(found).toContain('worktrees');
  });

  test('a stray folder, a dirty checkout and a lock', async () => {
    const found = await spoilt(async ({ place: { repoPath, worktreesPath } }) => {
      writeFileSync(join(worktreesPath, 'stray'), '');
      writeFileSync(join(repoPath, 'outputs', 'r1', 'draft.md'), 'changed\n');
      writeFileSync(join(repoPath, '.git', 'index.lock'), '');
    });
    expect(found).toEqual(expect.arrayContaining(['worktrees', 'repository']));
  });

  test('a damaged object', async () => {
    const found = await spoilt(async ({ place: { repoPath } }) => {
      const blob = await git(repoPath, 'rev-parse', 'order/o1:outputs/r1/draft.md');
      const file = join(repoPath, '.git', 'objects', blob.slice(0, 2), blob.slice(2));
      const { chmod } = await import('node:fs/promises');
      await chmod(file, 0o644);
      writeFileSync(file, 'damaged');
    });
    expect(found).toEqual(expect.arrayContaining(['repository', 'integrated']));
  });
});
