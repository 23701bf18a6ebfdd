import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSystem, type System } from './harness.ts';
import { type Data, err, followSse, ok, WAYS, type Way } from './wire.ts';

/** By the contract's shape, or by the shape of a body. */
const REFUSED: unknown = expect.stringMatching(/^(contract_violation|invalid_request)$/);

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['missions'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const hex = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('hex');

/** What the receiver said: its status, and its body as it is. */
async function pushTo(to: System, way: Way, input: unknown) {
  const { status, text } = await to.call(way, 'missions.push-content', input);
  return { status, body: JSON.parse(text) as Data };
}

/** A mission of a project of its own. */
function upload(text: string, more: Data = {}): Data {
  return {
    project_uuid: randomUUID(),
    mission_slug: '064-my-mission',
    target_branch: 'main',
    mission_type: 'software-dev',
    manifest_version: '1',
    artifact_path: 'kitty-specs/064-my-mission/spec.md',
    content_hash: `sha256:${hex(text)}`,
    hash_algorithm: 'sha256',
    content_body: text,
    ...more,
  };
}

describe.each(WAYS)('dossiers over %s', (way: Way) => {
  const push = (input: unknown) => pushTo(system, way, input);
  const status = async (input: Data): Promise<string> => {
    const { body, status: code } = await push(input);
    expect(code).toBe(body.status === 'stored' ? 201 : 200);
    return body.status as string;
  };
  const read = async (name: string, input: Data): Promise<Data> =>
    ok(await system.call(way, `missions.${name}`, input));
  const where = ({ project_uuid, mission_slug }: Data): Data => ({ project_uuid, mission_slug });

  test('D.49 content is kept and read back by path and by digest, byte for byte', async () => {
    const text = `\ufeff# Spec ☃ ${way}\r\n\u0000 "quoted" \\ end`;
    const one = upload(text);
    const first = await push(one);
    expect(first.status).toBe(201);
    expect(first.body).toMatchObject({ status: 'stored', content_hash: one.content_hash });
    const path = one.artifact_path;
    const artifact = await read('artifact', { ...where(one), path });
    expect(artifact).toMatchObject(one);
    expect(artifact).toMatchObject({ size_bytes: Buffer.byteLength(text), versions: 1 });
    const sha256 = hex(text);
    const content = { sha256, content_body: text, size_bytes: Buffer.byteLength(text) };
    expect(await read('content', { sha256 })).toMatchObject(content);
    expect(await read('content', { sha256: `sha256:${sha256}` })).toMatchObject(content);
  });

  test('D.50 the same content again is 200 already_exists, and nothing is written', async () => {
    const one = upload('twice');
    expect((await push(one)).status).toBe(201);
    const { state } = await system.broker.jsm.streams.info('MISSIONS');
    const again = await push({ ...one, content_hash: hex('twice').toUpperCase() });
    expect([again.status, again.body.status]).toEqual([200, 'already_exists']);
    expect((await system.broker.jsm.streams.info('MISSIONS')).state.last_seq).toBe(state.last_seq);
  });

  test('of many who bring the same content at once, one stores it', async () => {
    const one = upload('race');
    const statuses = await Promise.all(Array.from({ length: 12 }, () => status(one)));
    expect(statuses.filter((word) => word === 'stored')).toHaveLength(1);
    const { artifacts } = await read('artifacts', where(one));
    expect(artifacts).toMatchObject([{ versions: 1 }]);
  });

  test('changed content is a new version; what comes again is current again', async () => {
    const [a, path] = [upload('a'), 'kitty-specs/064-my-mission/spec.md'];
    const b = { ...a, content_body: 'b', content_hash: `sha256:${hex('b')}` };
    expect([await status(a), await status(b)]).toEqual(['stored', 'stored']);
    const now = async (): Promise<Data> => read('artifact', { ...where(a), path });
    expect(await now()).toMatchObject({ content_body: 'b', versions: 2 });
    const old = await read('artifact', { ...where(a), path, content_hash: a.content_hash });
    expect(old).toMatchObject({ content_body: 'a', content_hash: a.content_hash });
    expect(await status(a)).toBe('already_exists');
    expect(await now()).toMatchObject({ content_body: 'a', versions: 2 });
    expect(await status(b)).toBe('already_exists');
    expect(await now()).toMatchObject({ content_body: 'b', versions: 2 });
  });

  test('the index lists the artifacts of each namespace, a page at a time', async () => {
    const one = upload('1');
    const paths = Array.from(
      { length: 5 },
      (_, n) => `kitty-specs/064-my-mission/research/${n}.md`,
    );
    for (const artifact_path of paths) await push({ ...one, artifact_path });
    await push({ ...one, target_branch: 'other' });
    await push({ ...one, mission_slug: '065-next' });
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await read('artifacts', {
        ...where(one),
        target_branch: 'main',
        limit: 2,
        ...(cursor !== undefined && { cursor }),
      });
      seen.push(...page.artifacts.map(({ artifact_path }: Data) => artifact_path));
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
    expect(seen).toEqual(paths);
    const { dossiers } = await read('dossiers', { project_uuid: one.project_uuid });
    const counted = dossiers.map((d: Data) => [d.mission_slug, d.target_branch, d.artifacts]);
    expect(counted).toEqual([
      ['064-my-mission', 'main', 5],
      ['064-my-mission', 'other', 1],
      ['065-next', 'main', 1],
    ]);
  });

  test.each<[string, Data, string]>([
    ['project_uuid', { project_uuid: undefined }, 'project_uuid'],
    ['an empty project_uuid', { project_uuid: '' }, 'project_uuid'],
    ['mission_slug', { mission_slug: undefined }, 'mission_slug'],
    ['a null mission_slug', { mission_slug: null }, 'mission_slug'],
    ['a mission_slug that leaves its place', { mission_slug: '../064' }, 'mission_slug'],
    ['target_branch', { target_branch: undefined }, 'target_branch'],
    ['mission_type', { mission_type: '' }, 'mission_type'],
    ['a blank mission_type', { mission_type: '  ' }, 'mission_type'],
    ['manifest_version', { manifest_version: undefined }, 'manifest_version'],
    ['artifact_path', { artifact_path: undefined }, 'artifact_path'],
    ['an absolute artifact_path', { artifact_path: '/etc/passwd' }, 'artifact_path'],
    ['an artifact_path that climbs', { artifact_path: 'a/../../b.md' }, 'artifact_path'],
    ['content_hash', { content_hash: undefined }, 'content_hash'],
    ['a content_hash of no sense', { content_hash: 'sha256:abc' }, 'content_hash'],
    ['hash_algorithm', { hash_algorithm: undefined }, 'hash_algorithm'],
    ['an unknown hash_algorithm', { hash_algorithm: 'md5' }, 'hash_algorithm'],
    ['content_body', { content_body: undefined }, 'content_body'],
    ['a content_body that is no text', { content_body: { a: 1 } }, 'content_body'],
    ['feature_slug', { feature_slug: '064-my-mission' }, 'feature_slug'],
    ['a null feature_slug', { feature_slug: null }, 'feature_slug'],
    ['mission_key', { mission_key: 'software-dev' }, 'mission_key'],
  ])('D.49 %s is refused and nothing is kept', async (_what, more, field) => {
    const tail = (await system.broker.jsm.streams.info('MISSIONS')).state.last_seq;
    const answer = await push(upload(`refused for ${field}`, more));
    expect(answer).toMatchObject({ status: 400, body: { error: REFUSED, field } });
    expect(answer.body.detail).toContain(field);
    expect((await system.broker.jsm.streams.info('MISSIONS')).state.last_seq).toBe(tail);
  });

  test('D.52 a hash that is not that of the body is 400', async () => {
    const bad = upload('text', { content_hash: `sha256:${hex('other')}` });
    expect(await push(bad)).toMatchObject({ status: 400, body: { field: 'content_hash' } });
  });

  test('D.52 524288 bytes are taken, one more is 413', async () => {
    const most = 'é'.repeat(262_144);
    expect(await status(upload(most))).toBe('stored');
    const answer = await push(upload(`${most}x`));
    const body = { error: 'payload_too_large', field: 'content_body' };
    expect(answer).toMatchObject({ status: 413, body });
  });

  test('what is no JSON object of sense is 400 in the words of the contract', async () => {
    for (const text of ['{', '', 'null', '[]', '"x"', '{"__proto__":{"a":1}}', '{}']) {
      const path = '/api/dossier/push-content/';
      const sent = await (way === 'http'
        ? system.raw('missions', 'POST', path, { body: text })
        : system.call('nats', 'missions.push-content', text));
      const body = JSON.parse(sent.text) as Data;
      expect([sent.status, body], text).toMatchObject([400, { detail: expect.any(String) }]);
    }
  });

  test('what is not there is not found', async () => {
    const one = upload('only');
    const path = one.artifact_path;
    const fault = async (name: string, input: Data): Promise<string> =>
      err(await system.call(way, `missions.${name}`, input), undefined, 404).code;
    expect(await fault('artifacts', where(one))).toBe('NAMESPACE_NOT_FOUND');
    expect(await fault('artifact', { ...where(one), path })).toBe('NAMESPACE_NOT_FOUND');
    await push(one);
    expect(await fault('artifact', { ...where(one), path: 'plan.md' })).toBe('ARTIFACT_NOT_FOUND');
    const content_hash = hex('nobody');
    expect(await fault('artifact', { ...where(one), path, content_hash })).toBe(
      'ARTIFACT_NOT_FOUND',
    );
    expect(await fault('content', { sha256: content_hash })).toBe('ARTIFACT_NOT_FOUND');
    const bad = await system.call(way, 'missions.artifacts', { ...where(one), cursor: 'x' });
    expect(err(bad, 'INVALID_REQUEST', 400).field).toBe('cursor');
  });
});

test('what is received is followed live, and resumed without gap or repeat', async () => {
  const texts = ['one', 'two', 'three'];
  const [first = {}, ...others] = texts.map((text) => upload(text));
  const { project_uuid, mission_slug } = first;
  const uploads = [first, ...others.map((one) => ({ ...one, project_uuid }))];
  const from = (await system.broker.jsm.streams.info('MISSIONS')).state.last_seq + 1;
  await pushTo(system, 'http', first);
  await pushTo(system, 'http', upload('of another project'));
  const event = {
    event_id: randomUUID(),
    event_type: 'MissionCreated',
    aggregate_id: mission_slug,
    aggregate_type: 'Mission',
    schema_version: '3.0.0',
    build_id: randomUUID(),
    node_id: 'sender',
    lamport_clock: 7,
    timestamp: '2026-04-06T05:39:39Z',
    project_uuid,
    payload: { mission_slug, mission_number: '064', mission_type: 'software-dev' },
  };
  const told = await system.call('http', 'missions.record-events', { events: [event] });
  expect(told.status).toBe(200);
  await pushTo(system, 'http', uploads[1]);
  const url = `${system.url('missions')}/dossiers/stream`;
  const query = `project_uuid=${project_uuid}&mission_slug=${mission_slug}`;
  const [seen] = await followSse(`${url}?${query}&from_seq=${from}`, 1);
  expect(seen?.data).toEqual({
    seq: seen?.id,
    event_id: expect.any(String),
    project_uuid,
    mission_slug,
    target_branch: 'main',
    mission_type: 'software-dev',
    manifest_version: '1',
    artifact_path: 'kitty-specs/064-my-mission/spec.md',
    content_hash: `sha256:${hex('one')}`,
    size_bytes: 3,
    stored_at: expect.any(String),
  });
  await pushTo(system, 'http', uploads[2]);
  const rest = await followSse(`${url}?${query}`, 2, { 'last-event-id': String(seen?.id) });
  expect(rest.map(({ data }) => data.content_hash)).toEqual(
    ['two', 'three'].map((text) => `sha256:${hex(text)}`),
  );
  const path = encodeURIComponent('kitty-specs/064-my-mission/plan.md');
  await pushTo(system, 'http', { ...first, artifact_path: decodeURIComponent(path) });
  const narrowed = `${url}?${query}&artifact_path=${path}&from_seq=${from}`;
  const [plan] = await followSse(narrowed, 1);
  expect(plan?.data.artifact_path).toBe('kitty-specs/064-my-mission/plan.md');
});

test('D.44 what the shape asks for and a dossier has not is told of by no read and no stream', async () => {
  const shipped = join(import.meta.dirname, '../../libs/missionlog/upstream-3.0.0-shape.json');
  const rules = JSON.parse(await readFile(shipped, 'utf8')) as Data;
  rules.body_sync.required_fields.push('team');
  const folder = await mkdtemp(join(tmpdir(), 'ironclaw-shape-'));
  const file = join(folder, 'shape.json');
  await writeFile(file, JSON.stringify(rules));
  await using strict = await startSystem({
    roles: ['missions'],
    env: { IRONCLAW_CONTRACT_SHAPE: file },
  });
  const one = upload('in');
  const refused = await pushTo(strict, 'http', one);
  expect(refused).toMatchObject({ status: 400, body: { field: 'team' } });
  expect((await pushTo(strict, 'http', { ...one, team: 'acme' })).status).toBe(201);
  const { project_uuid, mission_slug } = one;
  const key = { project_uuid, mission_slug };
  const withheld = [{ ...key, field: 'team', reason: expect.stringContaining('http out') }];
  const list = ok(await strict.call('http', 'missions.artifacts', key));
  expect(list).toMatchObject({ artifacts: [], withheld });
  const all = ok(await strict.call('nats', 'missions.dossiers', {}));
  expect(all).toMatchObject({ dossiers: [], withheld });
  const path = one.artifact_path as string;
  const read = await strict.call('http', 'missions.artifact', { ...key, path });
  expect(err(read, 'CONTRACT_VIOLATION', 400).field).toBe('team');
  await rm(folder, { recursive: true });
});

test('what calls itself a received content and breaks the shape is left out of the stream', async () => {
  const one = upload('good');
  const { project_uuid, mission_slug } = one;
  const from = (await system.broker.jsm.streams.info('MISSIONS')).state.last_seq + 1;
  await pushTo(system, 'http', one);
  const last = await system.broker.jsm.streams.getMessage('MISSIONS', { seq: from });
  const event = last?.json<Data>() as Data;
  const send = async (payload: Data): Promise<void> => {
    const told = { ...event, event_id: randomUUID(), payload: { ...event.payload, ...payload } };
    await system.broker.js.publish(last?.subject ?? '', JSON.stringify(told));
  };
  await send({ namespace: { ...event.payload.namespace, mission_key: 'x' } });
  await send({ namespace: 'of another program' });
  await send({ content_hash: `sha256:${hex('after')}` });
  const url = `${system.url('missions')}/dossiers/stream`;
  const query = `project_uuid=${project_uuid}&mission_slug=${mission_slug}&from_seq=${from}`;
  const seen = await followSse(`${url}?${query}`, 2);
  expect(seen.map(({ id }) => id)).toEqual([from, from + 3]);
});

test('D.50 where events must come first: namespace_not_found, then index_entry_not_found, then 201', async () => {
  await using strict = await startSystem({
    roles: ['missions'],
    env: { IRONCLAW_DOSSIER_INDEX: 'true' },
  });
  const one = upload('announced');
  const { project_uuid, mission_slug } = one;
  const push = () => pushTo(strict, 'http', one);
  const tell = async (event_type: string, aggregate_type: string, payload: Data) => {
    const mission = { mission_slug, mission_number: '064', mission_type: 'software-dev' };
    const event = {
      event_id: randomUUID(),
      event_type,
      aggregate_id: mission_slug,
      aggregate_type,
      schema_version: '3.0.0',
      build_id: randomUUID(),
      node_id: 'sender',
      lamport_clock: 7,
      timestamp: '2026-04-06T05:39:39Z',
      project_uuid,
      payload: { ...mission, ...payload },
    };
    const sent = await strict.call('http', 'missions.record-events', { events: [event] });
    expect(JSON.parse(sent.text)).toMatchObject({ results: [{ status: 'success' }] });
  };
  expect(await push()).toMatchObject({ status: 404, body: { error: 'namespace_not_found' } });
  await tell('MissionCreated', 'Mission', {});
  expect(await push()).toMatchObject({ status: 404, body: { error: 'index_entry_not_found' } });
  await tell('MissionDossierArtifactIndexed', 'MissionDossier', {
    artifact_id: { path: 'spec.md' },
  });
  expect((await push()).status).toBe(201);
  expect((await push()).status).toBe(200);
  const last = await strict.broker.jsm.streams.getMessage('MISSIONS', { seq: 3 });
  const event = last?.json<Data>();
  expect(event, 'later than all that was received: 7, then another 7').toMatchObject({
    lamport_clock: 10,
  });
  expect(event).toMatchObject({
    schema_version: '3.0.0',
    aggregate_type: 'MissionDossier',
    aggregate_id: mission_slug,
    payload: { mission_slug, mission_number: '064', mission_type: 'software-dev' },
  });
  expect(event?.build_id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});

test('D.50 no token is 401 unauthorized, one that may not is 403, another address is 405 or 404', async () => {
  const tokens = { cli: 'ingest', reader: 'read' };
  const lines = Object.entries(tokens).map(([name, scope]) => `${name}:${scope}:${hex(name)}`);
  await using guarded = await startSystem({
    roles: ['gateway', 'missions'],
    env: { IRONCLAW_TOKENS: lines.join('\n') },
  });
  const body = JSON.stringify(upload('guarded'));
  const path = '/api/dossier/push-content/';
  const push = async (token: string | undefined, where = path, method = 'POST') => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return guarded.raw('gateway', method, where, { body, headers });
  };
  for (const token of [undefined, 'nobody', '']) {
    const answer = await push(token);
    expect(answer.status).toBe(401);
    expect(JSON.parse(answer.text)).toMatchObject({ error: 'unauthenticated' });
  }
  const reader = await push('reader');
  expect([reader.status, JSON.parse(reader.text)]).toMatchObject([403, { error: 'forbidden' }]);
  expect((await push('cli')).status).toBe(201);
  expect((await push('cli', path, 'PUT')).status).toBe(405);
  expect((await push('cli', '/api/dossier/push-content')).status).toBe(404);
});

test('an object that is no content of a mission is not read through here', async () => {
  const { putObject } = await import('#libs/broker');
  const { sha256 } = await putObject(system.broker, Buffer.from('a secret of another run'));
  const answer = await system.call('http', 'missions.content', { sha256 });
  err(answer, 'ARTIFACT_NOT_FOUND', 404);
});
