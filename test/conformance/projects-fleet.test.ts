import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSystem, type System } from './harness.ts';
import { serve } from './host.ts';
import { importHarbour, REASON } from './projects.ts';
import { type Data, err, ok } from './wire.ts';

// Several processes of the role, kill -9, and other hands in the stream.

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['gateway'], separateProcesses: ['projects'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const call = (name: string, input: Data = {}) => system.call('nats', `projects.${name}`, input);
const http = (name: string, input: Data = {}) => system.call('http', `projects.${name}`, input);
const stateOf = async (project_id: string): Promise<Data> => ok(await call('get', { project_id }));

describe('E projects in several processes', () => {
  test('E.69 E.70 writers and agents at two processes: all are kept, the chain is whole', async () => {
    const { id: project_id } = await importHarbour(system);
    const env = { NATS_URL: system.testBroker.url, IRONCLAW_STATE: system.stateDir };
    const second = await serve(['projects'], {
      ...env,
      IRONCLAW_PORT: '0',
      IRONCLAW_GARRISON: 'test',
    });
    try {
      const writers = Array.from({ length: 20 }, (_, index) => {
        const comment = { comment_id: `c-${index}`, content: `Comment ${index}` };
        return call('add-comment', { project_id, artifact_id: 'art-a', ...comment });
      });
      const agents = Array.from({ length: 40 }, (_, index) =>
        call('heartbeat', { project_id, agent_id: `agent-${index}` }),
      );
      for (const answer of await Promise.all([...writers, ...agents])) ok(answer, 200);
      const { document } = await stateOf(project_id);
      expect(document.phases[0].artifacts[0].comments).toHaveLength(20);
      expect(document.openclaw.linkedAgentIds).toHaveLength(40);
      expect(ok(await call('verify', { project_id }))).toMatchObject({ valid: true, entries: 21 });
    } finally {
      await second.close();
    }
  });

  test('E.69 of writers from one revision at two processes one wins', async () => {
    const { id: project_id, revision } = await importHarbour(system);
    const env = { NATS_URL: system.testBroker.url, IRONCLAW_STATE: system.stateDir };
    const second = await serve(['projects'], {
      ...env,
      IRONCLAW_PORT: '0',
      IRONCLAW_GARRISON: 'test',
    });
    try {
      const write = (name: string) =>
        call('update', { project_id, name, expected_revision: revision });
      const answers = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map(write));
      const won = answers.filter(({ status }) => status === 200);
      expect(won).toHaveLength(1);
      const { revision: current } = await stateOf(project_id);
      for (const answer of answers.filter(({ status }) => status !== 200)) {
        expect(err(answer, 'VERSION_CONFLICT', 409).details?.actual).toBe(current);
      }
    } finally {
      await second.close();
    }
  });

  test('E.69 ETag and If-Match go through the gateway to a role elsewhere', async () => {
    const { id, revision } = await importHarbour(system);
    const at = `${system.url('gateway')}/projects/projects/${id}`;
    const read = await fetch(at);
    expect([read.status, read.headers.get('etag')]).toEqual([200, `"${revision}"`]);
    await read.body?.cancel();
    const write = async (tag: string) => {
      const headers = { 'content-type': 'application/json', 'if-match': tag };
      const body = JSON.stringify({ name: `After ${tag}` });
      const answer = await fetch(at, { method: 'POST', headers, body });
      await answer.body?.cancel();
      return [answer.status, answer.headers.get('etag')];
    };
    const [status, next] = await write(`"${revision}"`);
    expect([status, next === `"${revision}"`]).toEqual([200, false]);
    expect(await write(`"${revision}"`)).toEqual([409, null]);
    expect((await write(next as string))[0]).toBe(200);
  });

  test('E kill -9: the same project, the same list; also with the views thrown away', async () => {
    const { id: project_id } = await importHarbour(system);
    ok(await call('apply-waiver', { project_id, artifact_id: 'art-a', rationale: REASON }));
    const { seq } = ok(await call('update', { project_id, name: 'Killed' }));
    const before = await stateOf(project_id);
    const listed = ok(await http('list', { at_least: seq, limit: 1000 })).projects as Data[];
    for (const wipe of [false, true]) {
      await system.process('projects').kill();
      const views = path.join(system.stateDir, 'views', 'projects');
      if (wipe) rmSync(views, { recursive: true, force: true });
      await system.process('projects').restart();
      expect(await stateOf(project_id)).toEqual(before);
      expect(ok(await http('list', { at_least: seq, limit: 1000 })).projects).toEqual(listed);
      // It goes on from what it has read.
      ok(await call('update', { project_id, name: 'Killed' }));
    }
  });
});

describe('E.75 a history that other hands have written to', () => {
  const forge = async (project_id: string, change: Data): Promise<void> => {
    const { events } = ok(await call('history', { project_id }));
    const { seq: _seq, ...last } = events.at(-1) as Data;
    const forged = { ...last, ...change };
    await system.broker.js.publish(`prj.v1.${project_id}`, JSON.stringify(forged));
  };
  const verify = async (project_id: string, exported: Data = {}): Promise<Data> =>
    ok(await call('verify', { project_id, ...exported }));

  test.each([
    ['a payload that was altered', { sequence: 1, payload: { name: 'Forged' } }, 'PREVIOUS_HASH'],
    ['an entry that is missing', { sequence: 2 }, 'SEQUENCE_GAP'],
    ['an entry that is there twice', {}, 'SEQUENCE_GAP'],
  ])('E.75 %s is found, and the place named', async (_what, change, fault) => {
    const { id: project_id } = await importHarbour(system);
    expect(await verify(project_id)).toMatchObject({ valid: true, entries: 1 });
    await forge(project_id, { type: 'PROJECT_UPDATED', payload: { name: 'x' }, ...change });
    expect(await verify(project_id)).toMatchObject({ valid: false, broken_at: 1, fault });
  });

  test('E.75 a payload under the right hash before is found by its own hash', async () => {
    const { id: project_id } = await importHarbour(system);
    const { head } = await verify(project_id);
    const forged = {
      sequence: 1,
      prev_hash: head,
      type: 'PROJECT_UPDATED',
      payload: { name: 'x' },
    };
    await forge(project_id, forged);
    expect(await verify(project_id)).toMatchObject({ broken_at: 1, fault: 'HASH_MISMATCH' });
  });

  test('E.75 an earlier time is found; a cut tail by the exported head', async () => {
    const { id: project_id } = await importHarbour(system);
    const { head } = await verify(project_id);
    const claimed = await verify(project_id, { entries: 2, head });
    expect(claimed).toMatchObject({ valid: false, broken_at: 1, fault: 'CUT' });
    const rewritten = await verify(project_id, { entries: 1, head: 'a'.repeat(64) });
    expect(rewritten).toMatchObject({ valid: false, broken_at: 0, fault: 'REWRITTEN' });
    const early = { timestamp: '2020-01-01T00:00:00.000Z', sequence: 1, prev_hash: head };
    await forge(project_id, { ...early, type: 'PROJECT_UPDATED', payload: { name: 'x' } });
    expect(await verify(project_id)).toMatchObject({ broken_at: 1, fault: 'TIME_RUNS_BACK' });
  });

  test('E what is no event is passed over, and commands go on', async () => {
    const { id: project_id } = await importHarbour(system);
    await system.broker.js.publish(`prj.v1.${project_id}`, '{nope');
    ok(await call('update', { project_id, name: 'On' }));
    expect((await stateOf(project_id)).document.name).toBe('On');
    expect(await verify(project_id)).toMatchObject({ valid: true, entries: 2 });
  });
});
