import { describe, expect, test } from 'vitest';
import { LIMITS } from '#libs/contracts';
import {
  canonicalJson,
  contextOf,
  diffPaths,
  type FindingCode,
  migrateProject,
  normalizeProject,
  readProject,
  readProjectValue,
  type ReadOptions,
  validateProject,
  type ValidateOptions,
} from './mod.ts';
import {
  canonicalArtifact,
  canonicalPhase,
  canonicalProject,
  engine,
  later,
  NOW,
} from './testdata/projects.ts';

const context = contextOf(engine, NOW);
type Loose = Record<string, unknown>;

const normalize = (input: unknown, now = NOW) =>
  normalizeProject(input, { ...context, now }) as Loose;
const codes = (input: unknown, options: Partial<ValidateOptions> = {}): FindingCode[] =>
  validateProject(input, { ...context, mode: 'lenient', ...options }).findings.map(
    ({ code }) => code,
  );
const strict = { mode: 'strict', canonical: false } as const;
const canonical = { mode: 'strict', canonical: true } as const;
/** Paths that keep a document from being canonical. */
const paths = (input: unknown): string[] =>
  validateProject(input, { ...context, ...canonical }).findings.flatMap((one) => one.paths ?? []);
const read = (text: string, options: Partial<ReadOptions> = {}) =>
  readProject(text, { engine, now: NOW, ...options });
const readCodes = (text: string, options: Partial<ReadOptions> = {}): FindingCode[] =>
  read(text, options).findings.map(({ code }) => code);
const artifactOf = (document: unknown): Loose =>
  (document as { phases: { artifacts: Loose[] }[] }).phases[0]?.artifacts[0] ?? {};
const withArtifact = (more: object) => ({
  ...canonicalProject(),
  phases: [canonicalPhase(1, canonicalArtifact('art-a', 1, more))],
});
const withDecision = (decision: object) => {
  const project = canonicalProject();
  Object.assign(project.phases[0]?.goNoGoDecision ?? {}, decision);
  return project;
};
const bundle = (more: object, project: unknown = canonicalProject()) =>
  JSON.stringify({ schemaVersion: 1, minReaderVersion: '1', createdAt: NOW, project, ...more });

describe('normalize', () => {
  test('E.1 a canonical project is as it was', () => {
    expect(normalize(canonicalProject())).toEqual(canonicalProject());
  });

  test('E.2 a second run changes nothing', () => {
    const once = normalize({
      id: 'x',
      phases: [{ id: 3, artifacts: [{ id: 'a', comments: [{}] }] }],
    });
    expect(diffPaths(once, normalize(once, later(99)))).toEqual([]);
  });

  test('E.3 two clocks make identical bytes where all dates and ids are there', () => {
    const project = withArtifact({ comments: [{ content: 'tide' }], status: 'not-required' });
    expect(canonicalJson(normalize(project, later(5)))).toBe(canonicalJson(normalize(project)));
  });

  test('E.10 planId alone becomes the plan, and is not canonical', () => {
    const { plan: _plan, plan_id: _id, ...rest } = canonicalProject();
    const project = { ...rest, planId: 't' };
    expect(normalize(project)).toMatchObject({ plan: { id: 't' }, plan_id: 't' });
    expect(paths(project)).toEqual(['$.plan', '$.plan_id']);
  });

  test('E.11 plan.id goes before plan_id; both places are written', () => {
    const plan = { id: ' one ', version: ' 2.0 ', note: 'x' };
    const normalized = normalize({ ...canonicalProject(), plan, plan_id: 'two' });
    expect(normalized.plan).toEqual({ id: 'one', version: '2.0' });
    expect(normalized).toMatchObject({ plan_id: 'one', plan_version: '2.0' });
  });

  test('E.12 governance_mode "SOLO" is team in lenient reading and not canonical', () => {
    const project = { ...canonicalProject(), governance_mode: 'SOLO' };
    expect(normalize(project).governance_mode).toBe('team');
    expect(paths(project)).toEqual(['$.governance_mode']);
  });

  test.each([
    [13, 'solo', 'team_decision', 'solo_attestation'],
    [14, 'team', 'solo_attestation', 'team_decision'],
  ])('E.%i attestation in %s mode: %s becomes %s', (_number, governance_mode, given, wanted) => {
    const project = { ...withDecision({ attestation_type: given }), governance_mode };
    expect(normalize(project)).toMatchObject({
      phases: [{ goNoGoDecision: { attestation_type: wanted } }],
    });
  });

  test('E.15 a profile that was spread into characters is joined again', () => {
    const template_set_profile = { 0: 'l', 1: 'e', 2: 'a', 3: 'n', registry_version: '9' };
    expect(normalize({ ...canonicalProject(), template_set_profile })).toMatchObject({
      template_set_profile: 'lean',
      template_registry_version: '9',
    });
  });

  test('E.16 the status not-required becomes a waiver', () => {
    const rationale = 'Not applicable to this berth.';
    const artifact = artifactOf(normalize(withArtifact({ status: 'not-required', rationale })));
    expect(artifact).not.toHaveProperty('status');
    expect(artifact.waiver).toEqual({
      waived: true,
      rationale,
      waived_at: '2025-12-24T18:00:00.000Z',
      waived_by: 'owner:dev-7',
    });
  });

  test('E.17 a stored status is dropped, and not canonical', () => {
    const project = withArtifact({ status: 'complete' });
    expect(artifactOf(normalize(project))).not.toHaveProperty('status');
    expect(paths(project)).toEqual(['$.phases[0].artifacts[0].status']);
  });

  test('E.18 a numeric template_version becomes its text', () => {
    const artifact = artifactOf(normalize(withArtifact({ template_version: 2.5 })));
    expect(artifact.template_version).toBe('2.5');
  });

  test('E.19 templateData stands in for field_values', () => {
    const project = withArtifact({ templateData: { q1: 'yes' }, field_values: undefined });
    expect(artifactOf(normalize(project)).field_values).toEqual({ q1: 'yes' });
  });

  test('E.20 a waiver is set by true alone', () => {
    const waiver = { waived: 'true', rationale: 'x'.repeat(30) };
    expect(artifactOf(normalize(withArtifact({ waiver }))).waiver).toMatchObject({ waived: false });
  });

  test('E.21 a further key in a waiver is dropped, and not canonical', () => {
    const waiver = { waived: false, rationale: '', waived_at: null, waived_by: null, ticket: 1 };
    expect(artifactOf(normalize(withArtifact({ waiver }))).waiver).not.toHaveProperty('ticket');
    expect(paths(withArtifact({ waiver }))).toEqual(['$.phases[0].artifacts[0].waiver.ticket']);
  });

  test('E.22 unknown keys of project, phase, artifact and decision are kept and canonical', () => {
    const project = { ...withDecision({ quorum: 3 }), zed: { a: [1, null] } };
    Object.assign(project.phases[0] ?? {}, { colour: 'teal' });
    Object.assign(artifactOf(project), { approvals: [{ role: 'PM' }] });
    expect(normalize(project)).toEqual(project);
    expect(codes(project, canonical)).toEqual([]);
  });

  test('E.23 a comment without id gets the same id on every run', () => {
    const project = withArtifact({ comments: [{ content: 'tide' }, { content: 'tide' }] });
    const ids = (now: string) =>
      (artifactOf(normalize(project, now)).comments as { id: string }[]).map(({ id }) => id);
    expect(ids(NOW)).toEqual(ids(later(50)));
    expect(new Set(ids(NOW)).size).toBe(2);
  });

  test('E.24 an unknown comment is open and advisory', () => {
    const comments = [{ id: 'c', content: 'x', status: 'closed', comment_type: 'rant' }];
    expect(artifactOf(normalize(withArtifact({ comments }))).comments).toMatchObject([
      { status: 'open', comment_type: 'advisory' },
    ]);
  });

  test('a template of its own is never completed with the version and hash of another', () => {
    const artifact = { id: 'a', name: 'Project Charter', template_id: 'mine' };
    const project = { id: 'c', plan_id: 'cpmai', phases: [{ id: 1, artifacts: [artifact] }] };
    expect(artifactOf(normalize(project))).toMatchObject({
      template_id: 'mine',
      template_version: null,
      template_hash: null,
    });
  });
});

describe('migrate', () => {
  const migrated = (input: unknown): Loose => {
    const migration = migrateProject(input, context);
    if (!migration.ok) throw new Error(migration.finding.code);
    return migration.document;
  };
  const metaOf = (input: unknown) => migrated(input).meta as Loose;

  test('E.4 a document without any version gets all the schema asks for', () => {
    const artifact = { id: 'a', name: 'A' };
    const input = { id: 'p', name: 'P', phases: [{ id: 1, name: 'One', artifacts: [artifact] }] };
    expect(migrated(input)).toMatchObject({
      schema_version: '1',
      meta: { schema_version: '1', migrated_from: '0' },
      governance_mode: 'team',
      plan: { id: 'cpmai' },
      project_owner: 'owner:unknown-device',
      phases: [
        {
          phase_number: 1,
          goNoGoDecision: {
            status: 'pending',
            decidedAt: null,
            notes: '',
            attestation_type: 'team_decision',
          },
          artifacts: [{ waiver: null, comments: [], phase_id: '1' }],
        },
      ],
    });
  });

  test.each([
    [5, { meta: { schema_version: '1' }, schema_version: '0' }],
    [6, { meta: undefined, schema_version: undefined, schemaVersion: 1 }],
  ])('E.%i the first field that says a version counts', (_number, fields) => {
    const document = migrated({ ...canonicalProject(), ...fields });
    expect(document).toMatchObject({ schema_version: '1', meta: { schema_version: '1' } });
    expect(document.meta).not.toHaveProperty('migrated_from');
  });

  test.each([
    [7, '2', { meta: undefined, schema_version: '2' }],
    [8, '2', { meta: { schema_version: '2' }, schema_version: '1' }],
    [8, '(number)', { meta: { schema_version: 1 } }],
    [7, '1.0', { meta: {}, schema_version: '1.0' }],
    [7, '99', { meta: null, schema_version: null, schemaVersion: 99 }],
  ])('E.%i version %s is refused and the document left as it is', (_number, from, fields) => {
    const input = { ...canonicalProject(), ...fields };
    const before = JSON.stringify(input);
    expect(migrateProject(input, context)).toMatchObject({
      ok: false,
      from,
      finding: { code: 'SCHEMA_VERSION_UNSUPPORTED' },
    });
    expect(JSON.stringify(input)).toBe(before);
    expect(normalizeProject(input, context)).toBe(input);
  });

  test('E.9 migrating again keeps where it came from', () => {
    const once = migrated({ id: 'p', name: 'P', phases: [] });
    expect(metaOf(once).migrated_from).toBe('0');
  });

  test('every change is told with its path and both values', () => {
    const migration = migrateProject(withArtifact({ status: 'complete' }), context);
    expect(migration.ok && migration.changes).toEqual([
      { path: '$.phases[0].artifacts[0].status', before: 'complete' },
    ]);
  });
});

describe('validate', () => {
  const two = (second: object) => {
    const project = canonicalProject();
    project.phases.push({ ...canonicalPhase(2), ...second });
    return project;
  };

  test('the minimal example of the contract is valid and canonical', () => {
    const { description: _description, ...project } = canonicalProject();
    const meta = { ...project.meta, rule_engine_version: '0.9.0' };
    expect(codes({ ...project, meta }, canonical)).toEqual([]);
  });

  test('E.25 a resolved comment without resolver is an error', () => {
    const resolved_at = NOW;
    const comments = [{ id: 'c', status: 'resolved', content: 'x', resolved_by: ' ', resolved_at }];
    expect(codes(withArtifact({ comments }))).toEqual(['COMMENT_RESOLVED_BY']);
  });

  test.each([
    ['phases', { ...canonicalProject(), phases: {} }, 'PHASES_EMPTY'],
    ['phases', { ...canonicalProject(), phases: 'zzz' }, 'PHASES_EMPTY'],
    [
      'artifacts',
      { ...canonicalProject(), phases: [{ id: 1, name: 'A', artifacts: 'zzz' }] },
      'ARTIFACTS_INVALID',
    ],
    ['comments', withArtifact({ comments: {} }), 'COMMENTS_INVALID'],
  ])('E.26 %s of a wrong type are refused with a code', (_what, project, code) => {
    expect(codes(project)).toEqual([code]);
  });

  test('E.29 an empty object lacks id, name and phases, in this order', () => {
    expect(codes({})).toEqual(['PROJECT_ID', 'PROJECT_NAME', 'PHASES_EMPTY']);
    expect(codes({}, { failFast: true })).toEqual(['PROJECT_ID']);
  });

  test.each([
    [30, 'PHASE_ID_DUP', two({ id: '1' })],
    [31, 'PHASE_NUMBER_DUP', two({ phase_number: 1 })],
    [32, 'PHASE_NUMBER_MISSING', two({ id: 'one', phase_number: undefined })],
    [33, 'DECIDED_AT_REQUIRED', withDecision({ status: 'go', decidedAt: '2026-01-01T00:00:00Z' })],
    [34, 'DECIDED_AT_FORBIDDEN', withDecision({ decidedAt: NOW })],
    [35, 'ARTIFACT_PHASE_MISMATCH', withArtifact({ phase_id: '2' })],
    [36, 'ARTIFACT_ID_DUP', two({ artifacts: [canonicalArtifact('art-a', 2)] })],
    [39, 'AUDIT_PHASE_UNKNOWN', { ...canonicalProject(), audit_log: [{ phase_id: '77' }] }],
    [
      39,
      'AUDIT_ARTIFACT_UNKNOWN',
      { ...canonicalProject(), audit_log: [{ artifact_id: 'ghost' }] },
    ],
    [39, 'AUDIT_ENTRY_INVALID', { ...canonicalProject(), audit_log: [7] }],
  ] as const)('E.%i %s', (_number, code, project) => {
    expect(codes(project)).toEqual([code]);
    expect(codes(project, strict)).toEqual([code]);
  });

  test('E.37 a blocking artifact without template is a warning, in strict reading an error', () => {
    const project = withArtifact({ template_id: null });
    const lenient = validateProject(project, { ...context, mode: 'lenient' });
    expect(lenient).toMatchObject({ ok: true, findings: [{ code: 'TEMPLATE_ID_MISSING' }] });
    expect(validateProject(project, { ...context, mode: 'strict' }).ok).toBe(false);
    // One that blocks nothing may be free text.
    const free = withArtifact({ template_id: null, isGateBlocking: false });
    expect(validateProject(free, { ...context, mode: 'strict' }).ok).toBe(true);
  });

  test('E.38 without a plan strict reading refuses', () => {
    const { plan: _plan, plan_id: _id, ...project } = canonicalProject();
    expect(codes(project)).toEqual([]);
    expect(codes(project, strict)).toEqual(['PLAN_ID_MISSING']);
  });

  test('E.40 of 80 differing paths 50 are listed and the number is told', () => {
    const artifacts = Array.from({ length: 80 }, (_, index) =>
      canonicalArtifact(`a-${index}`, 1, { status: 'complete' }),
    );
    const project = { ...canonicalProject(), phases: [canonicalPhase(1, ...artifacts)] };
    const { ok, findings } = validateProject(project, { ...context, ...canonical });
    expect([ok, findings.length, findings[0]?.code, findings[0]?.count]).toEqual([
      false,
      1,
      'NOT_CANONICAL',
      80,
    ]);
    expect(findings[0]?.paths).toHaveLength(50);
    expect(findings[0]?.message).toContain('80');
  });

  test('what the schema asks of every field is told in strict reading', () => {
    const project = withArtifact({ category: 'other', isGateBlocking: 'no', name: '' });
    expect(codes({ ...project, created: 'today' }, strict)).toEqual(Array(4).fill('FIELD_INVALID'));
  });

  test('too many phases, artifacts or comments are refused', () => {
    const phases = Array.from({ length: LIMITS.projectPhases + 1 }, (_, at) =>
      canonicalPhase(at + 1),
    );
    expect(codes({ ...canonicalProject(), phases })).toEqual(['TOO_LARGE']);
    const comments = Array.from({ length: LIMITS.artifactComments + 1 }, () => ({}));
    expect(codes(withArtifact({ comments }))).toEqual(['TOO_LARGE']);
    const artifacts = Array.from({ length: LIMITS.projectArtifacts + 1 }, (_, at) => ({
      id: `a${at}`,
    }));
    expect(codes({ ...canonicalProject(), phases: [canonicalPhase(1, ...artifacts)] })).toEqual([
      'TOO_LARGE',
    ]);
  });
});

describe('read', () => {
  test('a canonical project is read in strict mode, which is the default', () => {
    expect(read(JSON.stringify(canonicalProject()))).toMatchObject({
      ok: true,
      kind: 'project',
      findings: [],
    });
    expect(readCodes(JSON.stringify({ ...canonicalProject(), plan_id: ' harbour-plan ' }))).toEqual(
      ['NOT_CANONICAL'],
    );
  });

  test.each(['{nope', '', `\ufeff${JSON.stringify(canonicalProject())}`])(
    'E.27 %j is no JSON',
    (text) => {
      expect(readCodes(text)).toEqual(['BAD_JSON']);
    },
  );

  test.each(['null', '12', '"abc"', '[]'])('E.28 %s is no project', (text) => {
    expect(readCodes(text)).toEqual(['NOT_OBJECT']);
  });

  test.each([99, '1', 0])('E.41 bundle version %j is refused', (schemaVersion) => {
    expect(readCodes(bundle({ schemaVersion }))).toEqual(['BUNDLE_VERSION_UNSUPPORTED']);
  });

  test.each(['9', '1.1', 'x', 2])('E.42 a bundle for reader %j is refused', (minReaderVersion) => {
    expect(readCodes(bundle({ minReaderVersion }))).toEqual(['READER_TOO_OLD']);
  });

  test('a bundle that has no hash is read, and it is said that nothing vouches for it', () => {
    expect(read(bundle({}))).toMatchObject({
      ok: true,
      findings: [{ code: 'INTEGRITY_ABSENT', level: 'warning' }],
    });
    expect(readCodes(bundle({}), { requireSignature: true })).toContain('SIGNATURE_REQUIRED');
  });

  test.each(['__proto__', 'constructor', 'prototype'])(
    'E.48 the key %s is refused and pollutes nothing',
    (key) => {
      const text = JSON.stringify(canonicalProject()).replace(
        '"field_values":{}',
        `"field_values":{"${key}":{"polluted":1}}`,
      );
      expect(readCodes(text)).toEqual(['JSON_REFUSED']);
      expect(({} as Loose).polluted).toBeUndefined();
      const raw = normalize(JSON.parse(text));
      expect(Object.getPrototypeOf(raw)).toBe(Object.prototype);
      expect(({} as Loose).polluted).toBeUndefined();
    },
  );

  test('size, depth and number of values have their limits', () => {
    expect(readCodes(`"${'x'.repeat(LIMITS.projectBytes)}"`)).toEqual(['TOO_LARGE']);
    const deep = `${'['.repeat(LIMITS.jsonDepth + 1)}${']'.repeat(LIMITS.jsonDepth + 1)}`;
    expect(readCodes(`{"id":"p","deep":${deep}}`)).toEqual(['JSON_REFUSED']);
    expect(readCodes('['.repeat(1_000_000))).toEqual(['BAD_JSON']);
    expect(readCodes(`[${'0,'.repeat(LIMITS.projectNodes)}0]`)).toEqual(['TOO_LARGE']);
    expect(readCodes('{"id":1e400}')).toEqual(['JSON_REFUSED']);
  });

  test('a document of old can be exported after lenient reading', () => {
    const old = {
      id: 'old',
      name: 'Old',
      phases: [{ id: 1, name: 'A', artifacts: [{ id: 'a' }] }],
    };
    const { project, from, changes } = read(JSON.stringify(old), { mode: 'lenient' });
    expect(from).toBe('0');
    expect(changes.map(({ path }) => path)).toContain('$.created');
    const again = readProjectValue(project, { engine, now: later(9) });
    expect(again.findings.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
