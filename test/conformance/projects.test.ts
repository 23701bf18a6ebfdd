import { statSync } from 'node:fs';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectHash } from '#libs/projects';
import { startSystem, type System } from './harness.ts';
import { callsOn, harbourProject, importHarbour, REASON } from './projects.ts';
import { type Data, err, ok, refused, WAYS } from './wire.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['projects'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const GATE = { phase_id: '1' };
const ART = { artifact_id: 'art-a' };

describe.each(WAYS)('E projects over %s', (way) => {
  const call = (name: string, input?: Data, headers?: Record<string, string>) =>
    callsOn(system, way)(name, input, headers);
  const stateOf = async (id: string): Promise<Data> => ok(await call('get', { project_id: id }));

  test('E a new project of a plan: created once, listed, read with its state beside it', async () => {
    const project_id = randomUUID();
    const input = { project_id, name: 'Assistant', governance_mode: 'solo', device_id: 'laptop' };
    const made = ok(await call('create', input), 201);
    expect(made).toMatchObject({ project_id, changed: true });
    expect(ok(await call('create', input), 200)).toMatchObject({ changed: false });
    const other = await call('create', { ...input, governance_mode: 'team' });
    expect(err(other, 'PROJECT_EXISTS', 409).message).toContain(project_id);
    const { document, state, revision } = await stateOf(project_id);
    expect(document).toMatchObject({ id: project_id, project_owner: 'owner:laptop' });
    expect(document).not.toHaveProperty('state');
    expect(state.phases).toHaveLength(document.phases.length);
    expect(revision).toBe(made.revision);
    const { projects } = ok(await call('list', { at_least: made.seq, limit: 1000 }));
    expect(projects).toContainEqual(
      expect.objectContaining({ project_id, name: 'Assistant', governance_mode: 'solo', revision }),
    );
  });

  test('E.7 an import of a newer schema is refused and nothing is stored', async () => {
    const document = harbourProject({ schema_version: '2', meta: { schema_version: '2' } });
    const error = err(await call('import', { document }), 'PROJECT_INVALID', 400);
    expect(error.details?.findings).toContainEqual(
      expect.objectContaining({ code: 'SCHEMA_VERSION_UNSUPPORTED', level: 'error' }),
    );
    err(await call('get', { project_id: document.id }), 'PROJECT_NOT_FOUND', 404);
  });

  test('E.12 strict is the default, lenient must be asked for', async () => {
    const document = harbourProject({ governance_mode: 'TEAM' });
    const error = err(await call('import', { document }), 'PROJECT_INVALID', 400);
    expect(error.details?.findings).toContainEqual(
      expect.objectContaining({ code: 'NOT_CANONICAL' }),
    );
    ok(await call('import', { document, mode: 'lenient' }), 201);
    expect((await stateOf(document.id)).document.governance_mode).toBe('team');
  });

  test.each([
    ['', 'BAD_JSON'],
    ['{nope', 'BAD_JSON'],
    ['\uFEFF{}', 'BAD_JSON'],
    ['null', 'NOT_OBJECT'],
    ['12', 'NOT_OBJECT'],
    ['{"schemaVersion":99,"project":{}}', 'BUNDLE_VERSION_UNSUPPORTED'],
    ['{"schemaVersion":1,"minReaderVersion":"9","project":{}}', 'READER_TOO_OLD'],
    ['{"__proto__":{"admin":true}}', 'JSON_REFUSED'],
  ])('E.27 E.28 E.41 E.42 E.48 the text %j is refused: %s', async (text, code) => {
    const error = err(await call('import', { text }), 'PROJECT_INVALID', 400);
    expect(error.details?.findings).toContainEqual(expect.objectContaining({ code }));
    expect(({} as Data).admin).toBeUndefined();
  });

  test('E.47 a taken id: nothing is written before the choice; overwrite, keep both, cancel', async () => {
    const document = harbourProject();
    const first = ok(await call('import', { document }), 201);
    const other = { ...document, name: 'Other' };
    const error = err(await call('import', { document: other }), 'PROJECT_EXISTS', 409);
    expect(error.details?.choices).toEqual(['overwrite', 'keep-both', 'cancel']);
    expect((await stateOf(document.id)).document.name).toBe('Harbour');
    const cancelled = await call('import', { document: other, on_collision: 'cancel' });
    expect(ok(cancelled, 200)).toMatchObject({ status: 'cancelled' });
    expect((await stateOf(document.id)).revision).toBe(first.revision);
    const both = ok(await call('import', { document: other, on_collision: 'keep-both' }), 201);
    expect(both.project_id).not.toBe(document.id);
    expect(both.copy_of).toBe(document.id);
    expect((await stateOf(both.project_id as string)).document.name).toBe('Other (Imported)');
    ok(await call('import', { document: other, on_collision: 'overwrite' }), 201);
    expect((await stateOf(document.id)).document.name).toBe('Other');
    // The same again is done already.
    ok(await call('import', { document: other, on_collision: 'overwrite' }), 200);
  });

  test('E.49 E.61 E.62 a waiver opens the gate, a locked gate takes no decision', async () => {
    const { id } = await importHarbour(system);
    const waive = (rationale: string) =>
      call('apply-waiver', { project_id: id, ...ART, rationale });
    const decide = (decision: string) => call('decide-gate', { project_id: id, ...GATE, decision });
    for (const decision of ['go', 'no-go']) {
      const locked = err(await decide(decision), 'GATE_LOCKED', 409);
      expect(locked.details?.blocked_by).toEqual(['art-a']);
    }
    expect(refused(await waive('x'.repeat(19)), 'INVALID_REQUEST').field).toBe('rationale');
    expect(ok(await call('gate', { project_id: id, ...GATE }))).toMatchObject({ ready: false });
    expect(ok(await waive(REASON))).toMatchObject({ changed: true });
    expect(ok(await call('gate', { project_id: id, ...GATE }))).toMatchObject({
      ready: true,
      gate: 'ready',
    });
    ok(await decide('go'));
    const { document, state } = await stateOf(id);
    expect(document.phases[0].goNoGoDecision).toMatchObject({
      status: 'go',
      attestation_type: 'team_decision',
      decidedAt: expect.stringMatching(/Z$/),
    });
    expect(state.phases[0].gate).toBe('decided');
  });

  test('E.58 E.59 E.60 solo decisions say why', async () => {
    const { id } = await importHarbour(system, {
      governance_mode: 'solo',
      phases: [
        {
          ...harbourProject().phases[0],
          goNoGoDecision: {
            status: 'pending',
            decidedAt: null,
            notes: '',
            attestation_type: 'solo_attestation',
          },
          artifacts: [],
        },
      ],
    });
    const decide = (decision: string, notes: string) =>
      call('decide-gate', { project_id: id, ...GATE, decision, notes });
    refused(await decide('no-go', ''), 'INVALID_REQUEST');
    expect(refused(await decide('go', 'x '.repeat(29)), 'INVALID_REQUEST').field).toBe('notes');
    ok(await decide('go', 'x '.repeat(30)));
    const { document } = await stateOf(id);
    expect(document.phases[0].goNoGoDecision.attestation_type).toBe('solo_attestation');
  });

  test('E.63 E.64 waivers and their removal are told once each; reverting does not shorten the log', async () => {
    const { id } = await importHarbour(system);
    const before = await stateOf(id);
    const waive = (rationale: string) =>
      call('apply-waiver', { project_id: id, ...ART, rationale });
    const remove = () => call('remove-waiver', { project_id: id, ...ART });
    const changes: boolean[] = [];
    for (const step of [
      () => waive(REASON),
      () => waive(REASON),
      () => waive(`${REASON}y`),
      remove,
      remove,
    ]) {
      changes.push(ok(await step()).changed as boolean);
    }
    expect(changes).toEqual([true, false, true, true, false]);
    ok(await waive(REASON));
    ok(await call('revert', { project_id: id, seq: before.as_of }));
    const { document } = await stateOf(id);
    expect(document.phases[0].artifacts[0].waiver).toBeNull();
    const log = document.audit_log as Data[];
    expect(log.map(({ type, rationale }) => [type, rationale])).toEqual([
      ['WAIVER_APPLIED', REASON],
      ['WAIVER_APPLIED', `${REASON}y`],
      ['WAIVER_REMOVED', ''],
      ['WAIVER_APPLIED', REASON],
      ['WAIVER_REMOVED', ''],
    ]);
  });

  test('E.68 a write by time: 2 000 ms older is taken, 2 001 ms older is not', async () => {
    const at = (ms: number) => new Date(Date.parse('2026-02-01T00:00:10.000Z') - ms).toISOString();
    const document = harbourProject({ lastModified: at(0) });
    ok(await call('import', { document }), 201);
    const write = (lastModified: string) => {
      const next = { ...document, lastModified };
      return call('import', { document: next, on_collision: 'overwrite', by_time: true });
    };
    const error = err(await write(at(2_001)), 'VERSION_CONFLICT', 409);
    expect(error.details).toMatchObject({ document: { lastModified: at(0) } });
    ok(await write(at(2_000)), 201);
  });

  test('E.69 two writers from one revision: one wins, the other gets the current revision', async () => {
    const { id, revision } = await importHarbour(system);
    const write = (name: string) =>
      call('update', { project_id: id, name }, { 'if-match': `"${revision}"` });
    const answers = await Promise.all(['one', 'two', 'three', 'four'].map(write));
    const won = answers.filter(({ status }) => status === 200);
    expect(won).toHaveLength(1);
    const current = won[0]?.body.data?.revision as number;
    for (const answer of answers.filter(({ status }) => status !== 200)) {
      const { details } = err(answer, 'VERSION_CONFLICT', 409);
      expect(details?.actual).toBe(current);
    }
    refused(await call('update', { project_id: id, name: 'x' }, { 'if-match': 'W/nope' }));
    ok(await call('update', { project_id: id, name: 'five', expected_revision: current }));
    const stale = { project_id: id, name: 'six', expected_revision: current };
    err(await call('update', stale), 'VERSION_CONFLICT', 409);
  });

  test('E.70 E.71 40 heartbeats at once are all kept and never rewrite the project', async () => {
    const { id, revision } = await importHarbour(system);
    const before = await stateOf(id);
    const agents = Array.from({ length: 40 }, (_, index) => `agent-${index}`);
    const beat = (agent_id: string) => call('heartbeat', { project_id: id, agent_id });
    for (const answer of await Promise.all(agents.map(beat))) ok(answer, 200);
    const { document, revision: after } = await stateOf(id);
    expect(new Set(document.openclaw.linkedAgentIds as string[])).toEqual(new Set(agents));
    expect(document.openclaw.linkedAgentIds).toHaveLength(40);
    expect(after).toBe(revision);
    expect(document.phases).toEqual(before.document.phases);
    expect(document.lastModified).toBe(before.document.lastModified);
    const first = ok(await beat('agent-0'));
    const second = ok(await beat('agent-0'));
    expect(second.linkedAgentIds).toHaveLength(40);
    expect(Date.parse(second.lastAgentHeartbeat as string)).toBeGreaterThanOrEqual(
      Date.parse(first.lastAgentHeartbeat as string),
    );
    // Whoever has read before them still writes.
    ok(await call('update', { project_id: id, name: 'New' }, { 'if-match': `"${revision}"` }));
  });

  test('E.72 drafts are advice: kept, shown, taken over or turned down by a person', async () => {
    const { id } = await importHarbour(system);
    const draft = { project_id: id, ...ART, draft_id: 'd-1' };
    const content = { rationale: 'Berths are free on Mondays.' };
    const propose = (draft_id: string, artifact_id = 'art-a') =>
      call('propose-draft', {
        project_id: id,
        artifact_id,
        draft_id,
        agent_id: 'agent-1',
        content,
      });
    for (const hostile of ['__proto__', 'constructor']) refused(await propose(hostile));
    refused(await propose('d-1', '__proto__'));
    ok(await propose('d-1'));
    const { document, state } = await stateOf(id);
    expect(document.openclaw.advisoryDrafts['art-a']).toMatchObject({ draft_id: 'd-1', content });
    expect(document.phases[0].artifacts[0].rationale).toBe('');
    expect(state.phases[0].ready).toBe(false);
    ok(await call('accept-draft', { ...draft, actor_id: 'kim' }));
    const accepted = (await stateOf(id)).document;
    expect(accepted.phases[0].artifacts[0].rationale).toBe(content.rationale);
    expect(accepted.openclaw.advisoryDrafts).toEqual({});
    err(await call('accept-draft', draft), 'PROJECT_PART_NOT_FOUND', 404);
    ok(await propose('d-2'));
    ok(await call('dismiss-draft', { ...draft, draft_id: 'd-2' }));
    expect((await stateOf(id)).document.openclaw.advisoryDrafts).toEqual({});
  });

  test('E.73 the gate of a locked phase is not ready, of an unknown phase 404', async () => {
    const { id } = await importHarbour(system);
    expect(ok(await call('gate', { project_id: id, ...GATE }))).toMatchObject({
      ready: false,
      gate: 'locked',
      blocked_by: ['art-a'],
      decision: { status: 'pending' },
    });
    for (const phase_id of ['2', '-1', '0', 'x']) {
      err(await call('gate', { project_id: id, phase_id }), 'PROJECT_PART_NOT_FOUND', 404);
    }
    err(await call('gate', { project_id: 'ghost', ...GATE }), 'PROJECT_NOT_FOUND', 404);
  });

  test('E.76 what is immutable cannot be changed', async () => {
    const { id } = await importHarbour(system);
    for (const field of ['governance_mode', 'id', 'created']) {
      const change = { project_id: id, [field]: 'solo' };
      const error = err(await call('update', change), 'PROJECT_IMMUTABLE', 409);
      expect(error.message).toContain(field);
    }
    const solo = harbourProject({ id, governance_mode: 'solo' });
    const over = { document: solo, mode: 'lenient', on_collision: 'overwrite' };
    const error = err(await call('import', over), 'PROJECT_INVALID', 400);
    expect(error.details?.findings).toContainEqual(
      expect.objectContaining({ code: 'IMMUTABLE_CHANGED' }),
    );
  });

  test('E history: as of a sequence and a time; who decided what and why', async () => {
    const { id } = await importHarbour(system);
    const first = await stateOf(id);
    ok(await call('apply-waiver', { project_id: id, ...ART, rationale: REASON, actor_id: 'kim' }));
    const decision = { decision: 'go', notes: 'All is moored.', actor_id: 'lee' };
    const decided = ok(await call('decide-gate', { project_id: id, ...GATE, ...decision }));
    const was = ok(await call('as-of', { project_id: id, seq: first.as_of }));
    expect(was.document).toEqual(first.document);
    const { lastModified } = (await stateOf(id)).document;
    const now = ok(await call('as-of', { project_id: id, at: lastModified }));
    expect(now.revision).toBe(decided.revision);
    err(await call('as-of', { project_id: id, at: '2020-01-01T00:00:00Z' }), 'PROJECT_NOT_FOUND');
    refused(await call('as-of', { project_id: id }), 'INVALID_REQUEST');
    const { decisions } = ok(await call('decisions', { project_id: id }));
    expect(decisions).toMatchObject([
      { phase_id: '1', decision: 'go', notes: 'All is moored.', actor_id: 'lee' },
    ]);
    expect(decisions[0].basis).toMatchObject([{ artifact_id: 'art-a', status: 'waived' }]);
    const page = ok(await call('history', { project_id: id, limit: 2 }));
    expect(page.events.map(({ type }: Data) => type)).toEqual([
      'PROJECT_IMPORTED',
      'WAIVER_APPLIED',
    ]);
    const rest = ok(await call('history', { project_id: id, cursor: page.next_cursor }));
    expect(rest.events.map(({ type }: Data) => type)).toEqual(['GATE_DECIDED']);
    expect(rest.next_cursor).toBeNull();
    const verified = ok(await call('verify', { project_id: id }));
    expect(verified).toMatchObject({ valid: true, entries: 3 });
  });

  test('E comments are added, resolved and opened again', async () => {
    const { id } = await importHarbour(system);
    const comment = { project_id: id, ...ART, comment_id: 'c-1' };
    ok(await call('add-comment', { ...comment, content: 'Is it free?', actor_id: 'kim' }));
    const again = { ...comment, content: 'Is it free?' };
    expect(ok(await call('add-comment', again)).changed).toBe(false);
    ok(await call('resolve-comment', { ...comment, actor_id: 'lee' }));
    const commentOf = async (): Promise<Data> =>
      (await stateOf(id)).document.phases[0].artifacts[0].comments[0] as Data;
    expect(await commentOf()).toMatchObject({
      status: 'resolved',
      created_by: 'kim',
      resolved_by: 'lee',
    });
    ok(await call('reopen-comment', comment));
    expect(await commentOf()).toMatchObject({ status: 'open', resolved_at: null });
    const ghost = { ...comment, comment_id: 'ghost' };
    err(await call('resolve-comment', ghost), 'PROJECT_PART_NOT_FOUND', 404);
  });
});

describe('E bundles', () => {
  const call = (name: string, input?: Data) => callsOn(system, 'http')(name, input);

  test('E.46 E.65 E.67 export, then strict import: clean, the same hash, a known signature', async () => {
    const { key_id } = ok(await call('rotate-key'), 201);
    const project_id = randomUUID();
    ok(await call('create', { project_id, name: 'Café / Berth', device_id: 'laptop' }), 201);
    const exported = ok(await call('export', { project_id, sign: true }));
    expect(exported).toMatchObject({ key_id });
    expect(exported.filename).toMatch(/^thingstead-project_caf-berth_\d{4}-\d\d-\d\d\.json$/);
    const back = ok(
      await call('import', {
        text: exported.text,
        on_collision: 'keep-both',
        require_signature: true,
      }),
      201,
    );
    expect(back).toMatchObject({ signature: 'valid', key_id, changes: 0 });
    expect((back.findings as Data[]).filter(({ level }) => level === 'error')).toEqual([]);
    const same = ok(await call('import', { text: exported.text, on_collision: 'overwrite' }), 200);
    expect(same.changed).toBe(false);
    const again = ok(await call('export', { project_id, sign: true }));
    expect(again.hash).toBe(exported.hash);
    // Reordered keys change nothing.
    const bundle = JSON.parse(exported.text as string) as Data;
    const reordered = { project: bundle.project, schemaVersion: 1, createdAt: bundle.createdAt };
    const read = { document: reordered, on_collision: 'overwrite' };
    expect(ok(await call('import', read), 200)).toMatchObject({ signature: 'valid' });
  });

  test('E.44 a hash that was made anew does not save an old signature', async () => {
    ok(await call('rotate-key'), 201);
    const { id } = await importHarbour(system);
    const { text } = ok(await call('export', { project_id: id, sign: true }));
    const bundle = JSON.parse(text as string) as Data;
    bundle.project.phases[0].name = 'Moop';
    bundle.project.integrity.hash = projectHash(bundle.project as Data);
    const error = err(await call('import', { document: bundle }), 'PROJECT_INVALID', 400);
    expect(error.details?.findings).toMatchObject([{ code: 'SIGNATURE_INVALID' }]);
  });

  test('E.43 E.45 what was altered is refused, what is not signed is told', async () => {
    const { id } = await importHarbour(system);
    const { text } = ok(await call('export', { project_id: id }));
    const bundle = JSON.parse(text as string) as Data;
    const altered = structuredClone(bundle);
    altered.project.phases[0].name = 'Moop';
    const error = err(await call('import', { document: altered }), 'PROJECT_INVALID', 400);
    expect(error.details?.findings).toMatchObject([{ code: 'INTEGRITY_MISMATCH' }]);
    const unsigned = { document: bundle, on_collision: 'overwrite' };
    expect(ok(await call('import', unsigned), 200)).toMatchObject({ signature: 'absent' });
    const demanded = await call('import', { ...unsigned, require_signature: true });
    expect(err(demanded, 'PROJECT_INVALID').details?.findings).toMatchObject([
      { code: 'SIGNATURE_REQUIRED' },
    ]);
  });

  test('E keys are made, listed, rotated; private halves are for their user alone', async () => {
    const first = ok(await call('rotate-key'), 201);
    const second = ok(await call('rotate-key'), 201);
    const answer = await call('keys');
    const keys = ok(answer).keys as Data[];
    expect(keys.filter(({ signs }) => signs).map(({ key_id }) => key_id)).toEqual([second.key_id]);
    expect(keys.find(({ key_id }) => key_id === first.key_id)?.retired_at).not.toBeNull();
    expect(answer.text).not.toContain('"d"');
    const half = ok(await call('key', { key_id: first.key_id }));
    expect(half.public_jwk).toMatchObject({ kty: 'EC', crv: 'P-256' });
    err(await call('key', { key_id: 'ghost' }), 'SIGNING_KEY_NOT_FOUND', 404);
    const file = path.join(system.stateDir, 'keys', 'projects.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const bad = { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' };
    refused(await call('trust-key', { public_jwk: bad }), 'INVALID_REQUEST');
  });
});

describe('E the door', () => {
  const JSON_TYPE = { 'content-type': 'application/json' };

  test('E.74 foreign origins, bad ids, large bodies and broken JSON are refused', async () => {
    const raw = (method: string, where: string, given: Data = {}) =>
      system.raw('projects', method, where, given);
    const body = '{"name":"One"}';
    const foreign = { ...JSON_TYPE, origin: 'https://evil.example' };
    err(await raw('POST', '/projects', { body, headers: foreign }), 'FORBIDDEN', 403);
    err(
      await raw('POST', '/projects', { body, headers: { ...JSON_TYPE, origin: 'null' } }),
      'FORBIDDEN',
      403,
    );
    const bad = await raw('GET', '/projects/bad%20id');
    expect(err(bad, 'INVALID_REQUEST', 400).field).toBe('project_id');
    const large = ' '.repeat(9_000_000);
    err(
      await raw('POST', '/imports', { body: large, headers: JSON_TYPE }),
      'PAYLOAD_TOO_LARGE',
      413,
    );
    err(await raw('POST', '/imports', { body: '{', headers: JSON_TYPE }), 'INVALID_JSON', 400);
    const deep = `{"document":${'['.repeat(2_000)}${']'.repeat(2_000)}}`;
    const error = err(
      await raw('POST', '/imports', { body: deep, headers: JSON_TYPE }),
      'PROJECT_INVALID',
      400,
    );
    expect(error.details?.findings).toMatchObject([{ code: 'JSON_REFUSED' }]);
  });

  test('E.69 a project has an ETag', async () => {
    const { id, revision } = await importHarbour(system);
    const response = await fetch(`${system.url('projects')}/projects/${id}`);
    expect(response.headers.get('etag')).toBe(`"${revision}"`);
    await response.body?.cancel();
  });
});
