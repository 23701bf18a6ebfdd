import { readFileSync } from 'node:fs';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tokenHash } from '#libs/service';
import { startSystem, type System } from './harness.ts';
import { harbourProject } from './projects.ts';
import type { Answer, Data } from './wire.ts';

// The observed server of the original, case by case, on our own endpoints. What it answered is what
// counts: a status of the same kind and the same facts; its paths and words are not ours. Projects
// are written by import with the choice to overwrite, as its PUT did.

type Case = { id: string; request: Data; response: { status: number; json: Data } };
const file = path.join(import.meta.dirname, 'testdata/projects-server.json');
const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: Case[] };

let system: System;
let fleet: string;
beforeAll(async () => {
  const tokens = [{ name: 'kim', scopes: ['admin'], sha256: tokenHash('secret') }];
  system = await startSystem({
    roles: ['projects'],
    env: { IRONCLAW_TOKENS: JSON.stringify(tokens) },
  });
  fleet = `fleet-${randomUUID()}`;
  const openclaw = {
    linkedAgentIds: ['seed-1', 7],
    lastAgentHeartbeat: null,
    advisoryDrafts: {},
  };
  await put(harbourProject({ id: fleet, name: 'Fleet', openclaw }));
});
afterAll(() => system?.[Symbol.asyncDispose]());

const TOKEN = { authorization: 'Bearer secret' };
const JSON_TYPE = { 'content-type': 'application/json' };

function send(method: string, where: string, body?: unknown, headers: Data = TOKEN) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const given = { ...JSON_TYPE, ...headers } as Record<string, string>;
  return system.raw('projects', method, where, {
    headers: given,
    ...(body !== undefined && { body: text }),
  });
}
const put = (document: unknown, more: Data = {}, headers: Data = TOKEN): Promise<Answer> => {
  const choice = { mode: 'lenient', on_collision: 'overwrite', by_time: true };
  return send('POST', '/imports', { document, ...choice, ...more }, headers);
};
const openclawOf = async (): Promise<Data> =>
  (await send('GET', `/projects/${fleet}`)).body.data?.document.openclaw as Data;

const SAME_TIME = '2025-12-24T18:00:00.000Z';
const draft = (draft_id: string | undefined, value: string): Data => ({
  agent_id: 'agent-1',
  draft_id,
  content: { field_values: { any: value } },
});

/** What each case is here, and what it must come to beside the status. */
const HERE: Record<string, () => Promise<Answer>> = {
  health: () => send('GET', '/health'),
  // A write that does not prove its intent: here, one without a token.
  'put-wrong-intent': () => put(harbourProject(), {}, {}),
  'put-null-origin': () => put(harbourProject(), {}, { ...TOKEN, origin: 'null' }),
  'patch-no-intent': () => send('POST', `/projects/${fleet}`, { name: 'One' }, {}),
  'get-p2': async () => {
    const document = harbourProject({ junk: [1, 2], lastModified: SAME_TIME });
    await put(document);
    const answer = await send('GET', `/projects/${document.id}`);
    expect(answer.body.data?.document).toMatchObject({ junk: [1, 2], lastModified: SAME_TIME });
    return answer;
  },
  'put-string': () => put('x'),
  'put-id-mismatch': () => send('POST', `/projects/${fleet}`, { project_id: 'other', name: 'One' }),
  'put-id-128': async () => {
    const id = 'a'.repeat(128);
    const answer = await put(harbourProject({ id }));
    const listed = await send('GET', `/projects?limit=1000&at_least=${answer.body.data?.seq}`);
    expect(listed.body.data?.projects).toContainEqual(expect.objectContaining({ project_id: id }));
    return answer;
  },
  'put-slash-id': () => put(harbourProject({ id: 'a/b' })),
  'conflict-2s': async () => {
    const document = harbourProject({ lastModified: SAME_TIME });
    await put(document);
    return put({ ...document, name: 'Near', lastModified: '2025-12-24T17:59:58.000Z' });
  },
  // A stored project always has a time here; one that comes without is taken, as there.
  'after-missing-ts-older': async () => {
    const document = harbourProject();
    await put(document);
    const { lastModified: _none, ...undated } = document;
    return put({ ...undated, name: 'Old' });
  },
  // Every project keeps its history: what is unknown is told as such, and nothing is deleted.
  'delete-missing': () => send('GET', '/projects/none'),
  rebuild: () => send('GET', '/projects'),
  'oc-health': () => send('GET', '/health'),
  'oc-create-bad-json': () => send('POST', '/projects', '{'),
  'oc-hb': async () => {
    const answer = await send('POST', `/projects/${fleet}/heartbeat`, { agent_id: ' agent-1 ' });
    expect(answer.body.data).toMatchObject({
      agent_id: 'agent-1',
      // The contract has strings there: a number was left out when it was read leniently.
      linkedAgentIds: ['seed-1', 'agent-1'],
      lastAgentHeartbeat: expect.stringMatching(/Z$/),
    });
    return answer;
  },
  'oc-hb-bad-project': () => send('POST', '/projects/a%20b/heartbeat', { agent_id: 'x' }),
  'oc-prop-overwrite': async () => {
    const at = `/projects/${fleet}/artifacts/art-a/drafts`;
    await send('POST', at, draft('d-1', 'x'));
    const answer = await send('POST', at, draft('d-1', 'json'));
    const { advisoryDrafts } = await openclawOf();
    expect(advisoryDrafts['art-a'].content).toEqual({ field_values: { any: 'json' } });
    return answer;
  },
  'oc-prop-no-draft': () =>
    send('POST', `/projects/${fleet}/artifacts/art-a/drafts`, draft(undefined, 'x')),
  'oc-list': () => send('GET', '/projects'),
  'oc-gate-neg': () => send('GET', `/projects/${fleet}/phases/-1/gate`),
  'oc-unknown': () => send('GET', '/zzz'),
};

/** Statuses that are ours on purpose. */
const OURS: Record<string, number> = {
  // No token is 401; a foreign origin stays 403.
  'put-wrong-intent': 401,
  'patch-no-intent': 401,
  // Something was stored.
  'put-id-128': 201,
  'conflict-2s': 201,
  'after-missing-ts-older': 201,
  'delete-missing': 404,
};

test.each(cases)('E server vector $id', async ({ id, response }) => {
  const answer = await (HERE[id] as () => Promise<Answer>)();
  expect(answer.status, answer.text.slice(0, 500)).toBe(OURS[id] ?? response.status);
  expect(answer.body.ok).toBe(answer.status < 400);
});

test('E every case of the server is here', () => {
  expect(cases.map(({ id }) => id).toSorted()).toEqual(Object.keys(HERE).toSorted());
});

test('E.74 a token names the actor, whatever the caller says', async () => {
  const document = harbourProject();
  await put(document);
  const body = { name: 'New', actor_id: 'somebody-else' };
  expect((await send('POST', `/projects/${document.id}`, body)).status).toBe(200);
  const { events } = (await send('GET', `/projects/${document.id}/history`)).body.data as Data;
  expect(events.at(-1)).toMatchObject({ type: 'PROJECT_UPDATED', actor_id: 'kim' });
});
