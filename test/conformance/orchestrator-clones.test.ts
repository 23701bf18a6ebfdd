import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IRONCLAW, MISSION, missionRig, P, type Rig, rowsOf, THREE } from './orchestrator-rig.ts';

// Two working copies of one repository, as on two machines, with one broker.

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker[Symbol.asyncDispose]());

let repositories = 0;

/** Two clones: the same commits, the same remote, so the same project. */
function clones(): { one: Rig; two: Rig } & AsyncDisposable {
  const [one, two] = [1, 2].map(() => missionRig({ NATS_URL: broker.url }, THREE)) as [Rig, Rig];
  repositories += 1;
  rmSync(join(two.root, '.git'), { recursive: true });
  cpSync(join(one.root, '.git'), join(two.root, '.git'), { recursive: true });
  for (const { git } of [one, two]) {
    git('remote', 'add', 'origin', `git@host.example:acme/demo-${repositories}.git`);
  }
  return {
    one,
    two,
    async [Symbol.asyncDispose]() {
      await one[Symbol.asyncDispose]();
      await two[Symbol.asyncDispose]();
    },
  };
}

const claim = (wp: string, actor: string) =>
  ['start-implementation', '--wp', wp, '--actor', actor, '--policy', P] as const;
const sync = async (it: Rig): Promise<string[]> => {
  const { stdout } = await it.start(['missions', 'sync', '--json'], { program: IRONCLAW }).ended;
  const { missions } = JSON.parse(stdout) as { missions: { written: string[] }[] };
  return missions.flatMap(({ written }) => written);
};
const log = (it: Rig): string => it.read(`${it.files}/status.events.jsonl`);
const status = (it: Rig): string => it.read(`${it.files}/status.json`);

describe('two clones of one repository', () => {
  test('D.40 both claim at once: one wins; sync gives both the same files', async () => {
    await using both = clones();
    const { one, two } = both;
    const answers = await Promise.all([
      one.api(...claim('WP01', 'a')),
      two.api(...claim('WP01', 'b')),
    ]);
    const codes = answers.map(({ json }) => String(json.error_code));
    expect(codes.toSorted()).toEqual(['WP_ALREADY_CLAIMED', 'null']);
    const [winner, loser] = codes[0] === 'null' ? [one, two] : [two, one];
    // Each works on, and mirrors what it knows of both.
    expect((await loser.api(...claim('WP03', 'c'))).code).toBe(0);
    const note = [
      'append-history',
      '--wp',
      'WP01',
      '--actor',
      'a',
      '--note',
      'seen by both',
    ] as const;
    expect((await winner.api(...note)).code).toBe(0);
    for (const it of [one, two, one]) await sync(it);
    expect(log(one)).toBe(log(two));
    expect(status(one)).toBe(status(two));
    const task = `${one.files}/tasks/WP01-part.md`;
    expect(one.read(task)).toBe(two.read(task));
    expect(one.read(task).split('seen by both')).toHaveLength(2);
    expect(rowsOf(log(one)).map(({ wp_id }) => wp_id)).toEqual(['WP01', 'WP01', 'WP03', 'WP03']);
    expect([await sync(one), await sync(two)]).toEqual([[], []]);
    expect(await one.lanes()).toEqual(await two.lanes());
  });

  test('files that one has lost are repaired to those of the other', async () => {
    await using both = clones();
    const { one, two } = both;
    await one.api(...claim('WP01', 'a'));
    await sync(two);
    writeFileSync(join(two.root, two.files, 'status.events.jsonl'), '');
    rmSync(join(two.root, two.files, 'status.json'));
    expect(await sync(two)).toHaveLength(2);
    expect([log(two), status(two)]).toEqual([log(one), status(one)]);
  });

  test('a clone that was away brings its own log, once', async () => {
    await using both = clones();
    const { one, two } = both;
    // Away: it had a broker of its own.
    await using away = await startTestBroker();
    const [command, ...flags] = claim('WP03', 'b');
    const words = ['orchestrator-api', command, '--mission', MISSION, ...flags];
    expect((await two.spawned(words, { env: { NATS_URL: away.url } })).code).toBe(0);
    expect((await one.api(...claim('WP01', 'a'))).code).toBe(0);
    for (const it of [two, two, one, two]) await sync(it);
    expect(await one.lanes()).toMatchObject({ WP01: 'in_progress', WP03: 'in_progress' });
    expect((await one.api(...claim('WP03', 'a'))).json.error_code).toBe('WP_ALREADY_CLAIMED');
    const ids = [one, two].map((it) => rowsOf(log(it)).map(({ event_id }) => String(event_id)));
    expect(ids[0]).toHaveLength(4);
    expect(new Set(ids[0]).size).toBe(4);
    expect(ids[1]?.toSorted()).toEqual(ids[0]?.toSorted());
    expect(status(one)).toBe(status(two));
  });
});
