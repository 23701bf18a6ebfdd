import { createHash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli, type Told } from './cli.ts';
import { startSystem, type System } from './harness.ts';
import { type Data, ok, sendHttp, WAYS } from './wire.ts';

// What a mission's log holds beside work packages, and what an event's id is worth in it.

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['missions', 'gateway'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** A name that is a folder's, and no id of ours. */
const SLUG = '064.my mission';
const BUILD = randomUUID();
const call = async (name: string, input: Data): Promise<Data> =>
  ok(await system.call('http', `missions.${name}`, input));

function event(project_uuid: string, mission_slug: string, more: Data = {}): Data {
  return {
    event_id: randomUUID(),
    event_type: 'MissionCreated',
    aggregate_id: mission_slug,
    aggregate_type: 'Mission',
    schema_version: '3.0.0',
    build_id: BUILD,
    node_id: 'sender',
    lamport_clock: 40,
    timestamp: '2026-04-06T05:39:39Z',
    causation_id: null,
    project_uuid,
    payload: { mission_slug, mission_number: '064', mission_type: 'software-dev' },
    ...more,
  };
}

const send = async (...events: Data[]): Promise<Data> => {
  const answer = await system.call('http', 'missions.record-events', { events });
  return JSON.parse(answer.text) as Data;
};
const statuses = ({ results }: Data): string[] => results.map(({ status }: Data) => status);

function origin(project_uuid: string, id: string): Data {
  return {
    project_uuid,
    mission_slug: SLUG,
    mission_number: '064',
    mission_type: 'software-dev',
    build_id: BUILD,
    node_id: 'sender',
    provider: 'linear',
    external_issue_id: id,
    external_issue_key: `LIN-${id}`,
    external_issue_url: 'https://l.example/1',
    title: 'It',
  };
}

async function push(project_uuid: string, text: string): Promise<Data> {
  const body = {
    project_uuid,
    mission_slug: SLUG,
    target_branch: 'main',
    mission_type: 'software-dev',
    manifest_version: '1',
    artifact_path: `kitty-specs/${SLUG}/spec.md`,
    content_hash: `sha256:${createHash('sha256').update(text).digest('hex')}`,
    hash_algorithm: 'sha256',
    content_body: text,
  };
  const path = '/api/dossier/push-content/';
  const sent = await sendHttp(system.url('gateway'), 'POST', path, {
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
  return JSON.parse(sent.text) as Data;
}

describe('a mission has one log', () => {
  test('D.47 origin and contents stand in its history, in order, each once', async () => {
    const project = randomUUID();
    expect(statuses(await send(event(project, SLUG)))).toEqual(['success']);
    const bound = await Promise.all(
      [1, 2, 3].map(() => call('record-origin', origin(project, '1'))),
    );
    expect(bound.filter(({ duplicate }) => duplicate === false)).toHaveLength(1);
    for (const text of ['a', 'b', 'a', 'a']) await push(project, text);
    const { seq } = await push(project, 'a');
    const key = { project_uuid: project, mission_slug: SLUG };
    const { history } = await call('history', { ...key, at_least: seq });
    const types = history.map(({ event_type }: Data) => event_type);
    const body = 'MissionDossierBodyStored';
    expect(types).toEqual(['MissionCreated', 'MissionOriginBound', body, body, body]);
    const clocks = history.map(({ event: { lamport_clock } }: Data) =>
      Number(lamport_clock),
    ) as number[];
    // 41 at least: the role has received 40.
    expect(clocks[1]).toBeGreaterThan(40);
    expect([...new Set(clocks)].sort((a, b) => a - b)).toEqual(clocks);
    const subjects = await system.broker.jsm.streams.info('MISSIONS', {
      subjects_filter: `mis.v1.${project}.>`,
    });
    expect(Object.values(subjects.state.subjects ?? {})).toEqual([history.length]);
    expect(await live(project, history.length)).toEqual(types);
  });

  test('another origin is refused', async () => {
    const project = randomUUID();
    await call('record-origin', origin(project, '1'));
    const answer = await system.call('http', 'missions.record-origin', origin(project, '2'));
    expect(answer.status).toBe(409);
    expect(answer.text).toContain('LIN-1');
  });

  test.each([' ', 'a/b', '..', 'a\\b', 'x'.repeat(201)])(
    'no mission is called %j',
    async (slug) => {
      const sent = await send(event(randomUUID(), slug));
      expect(sent.results).toMatchObject([{ status: 'rejected', field: 'payload.mission_slug' }]);
      const other = { ...origin(randomUUID(), '1'), mission_slug: slug };
      expect((await system.call('http', 'missions.record-origin', other)).status).toBe(400);
    },
  );
});

describe.each(WAYS)('ids of events over %s', (way) => {
  test('D.47 an id is one event for all missions and projects', async () => {
    const [project, other] = [randomUUID(), randomUUID()];
    const one = event(project, '064-one');
    const foreign = { ...event(other, '064-one'), event_id: one.event_id };
    const moved = { ...event(project, '065-two'), event_id: one.event_id.replaceAll('-', '') };
    const ask = async (...events: Data[]) => {
      const answer = await system.call(way, 'missions.record-events', { events });
      return JSON.parse(answer.text) as Data;
    };
    const first = await ask(one, foreign, moved);
    expect(statuses(first)).toEqual(['success', 'rejected', 'rejected']);
    const again = await ask(moved, one);
    expect(statuses(again)).toEqual(['rejected', 'duplicate']);
    expect(again.results[0]).toMatchObject({
      field: 'event_id',
      error_message: expect.stringContaining('another mission'),
    });
    expect(again.seq).toBe(first.seq);
  });

  test('what this system alone can tell is not taken from others', async () => {
    const told = { event_type: 'MissionDossierBodyStored', aggregate_type: 'MissionDossier' };
    const { results } = await send(event(randomUUID(), SLUG, told));
    expect(results).toMatchObject([{ status: 'rejected', field: 'event_type' }]);
  });
});

test('a mission named by its slug is found however many there are, or its projects are named', async () => {
  const projects = Array.from({ length: 2 }, () => randomUUID());
  const many = Array.from({ length: 60 }, (_, i) => event(projects[0] as string, `m-${i}`));
  const { seq } = await send(...many, event(projects[1] as string, 'm-7'));
  await call('boards', { limit: 1, at_least: seq });
  expect(await cli('show', 'm-59')).toMatchObject({ code: 0 });
  const several = await cli('show', 'm-7');
  expect(several.code).toBe(2);
  for (const project of projects) expect(several.err).toContain(project);
  const named = await cli('show', 'm-7', '--project', projects[1] as string);
  expect(named).toMatchObject({ code: 0 });
  expect(named.out).toContain(projects[1]);
});

function cli(...args: string[]): Promise<Told> {
  return runCli({ IRONCLAW_URL: system.url('gateway') }, ['missions', ...args]);
}

/** The types of the first events of a project on the live stream, from its start. */
async function live(project: string, count: number): Promise<string[]> {
  const stop = new AbortController();
  const url = `${system.url('gateway')}/missions/stream?project_uuid=${project}&from_seq=1`;
  const answer = await fetch(url, { signal: stop.signal });
  const types: string[] = [];
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const type = /^event: (.+)$/m.exec(block)?.[1];
      if (type !== undefined) types.push(type);
    }
    if (types.length >= count) break;
  }
  stop.abort();
  return types.slice(0, count);
}
