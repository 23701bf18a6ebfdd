import { describe, expect, test } from 'vitest';
import { isAppError } from '#libs/contracts';
import {
  addComment,
  applyWaiver,
  bundleFilename,
  createEngine,
  createProject,
  EMPTY_RING,
  exportProject,
  exportPublicKey,
  foldProject,
  historyHead,
  importProject,
  type ImportProject,
  keyIdOf,
  type KeyRing,
  knows,
  listKeys,
  migrateStored,
  newKeyPair,
  type PlanProfile,
  planFault,
  projectHash,
  type ProjectState,
  readKeyRing,
  type ReadOptions,
  readProject,
  rotateKey,
  signingKey,
  trustKey,
  updateArtifact,
  updateProject,
  verifyHistory,
  verifyIntegrity,
} from './mod.ts';
import {
  artifactId,
  type Book,
  by,
  canonicalProject,
  createBook,
  engine,
  later,
  newBook,
  NOW,
} from './testdata/projects.ts';

type Loose = Record<string, unknown>;

const ring: KeyRing = rotateKey(EMPTY_RING, newKeyPair(), NOW);
const key = signingKey(ring);
const read = (text: string, options: Partial<ReadOptions> = {}) =>
  readProject(text, { engine, now: later(60), isKnownKey: knows(ring), ...options });
const codesOf = (text: string, options: Partial<ReadOptions> = {}) =>
  read(text, options).findings.map(({ code }) => code);
const signed = (book: Book = newBook()) =>
  exportProject(book.document(), { now: later(30), key, history: historyHead(book.current()) });
/** The bundle with its project changed. */
const altered = (text: string, change: (project: Loose) => void): string => {
  const bundle = JSON.parse(text) as { project: Loose };
  change(bundle.project);
  return JSON.stringify(bundle);
};
const into = (state: ProjectState | undefined, text: string, more: Partial<ImportProject> = {}) =>
  importProject(state, {
    ...by('kim', 100),
    garrisonId: 'g',
    read: read(text),
    mode: 'strict',
    newId: 'p-copy',
    ...more,
  });
/** A book of what an import writes. */
const importedBook = (outcome: ReturnType<typeof into>, book = createBook()): Book => {
  if (outcome.status !== 'success') throw new Error(outcome.status);
  book.apply(outcome.decision);
  return book;
};

describe('export', () => {
  test('E.67 a built project comes back from export and strict import with the same hash', () => {
    for (const planId of ['cpmai', 'harbour-plan']) {
      const book = newBook({ planId, governanceMode: planId === 'cpmai' ? 'solo' : 'team' });
      const { text, hash } = exportProject(book.document(), { now: later(30) });
      const { ok, findings, project } = read(text);
      expect([ok, findings]).toEqual([true, []]);
      expect(project && projectHash(project)).toBe(hash);
      const again = importedBook(into(undefined, text));
      expect(exportProject(again.document(), { now: later(31) }).hash).toBe(hash);
    }
  });

  test('E.43 one character changed: refused, and the place named', () => {
    const text = altered(signed().text, (project) => Object.assign(project, { name: 'Harbor' }));
    const { ok, findings, integrity } = read(text, { mode: 'lenient' });
    expect([ok, integrity?.hash, integrity?.signature]).toEqual([false, 'invalid', 'invalid']);
    expect(findings.map(({ code, path }) => [code, path])).toEqual([
      ['INTEGRITY_MISMATCH', '$.integrity.hash'],
      ['SIGNATURE_INVALID', '$.integrity.signature'],
    ]);
  });

  test('E.44 the hash made anew after a change: the signature shows it', () => {
    const text = altered(signed().text, (project) => {
      project.name = 'Harbor';
      Object.assign(project.integrity ?? {}, { hash: projectHash(project) });
    });
    expect(read(text).integrity).toMatchObject({ hash: 'valid', signature: 'invalid' });
    expect(codesOf(text)).toEqual(['SIGNATURE_INVALID']);
  });

  test('E.45 the signature taken out: absent, and refused where one is demanded', () => {
    const text = altered(signed().text, ({ integrity }) => {
      delete (integrity as Loose).signature;
      delete (integrity as Loose).history;
    });
    expect(read(text)).toMatchObject({ ok: true, integrity: { signature: 'absent' } });
    expect(codesOf(text, { requireSignature: true })).toEqual(['SIGNATURE_REQUIRED']);
  });

  test('E.46 other order of keys: hash and signature are valid still', () => {
    const text = altered(signed().text, (project) => {
      const entries = Object.entries(project).toReversed();
      for (const [name] of entries) delete project[name];
      Object.assign(project, Object.fromEntries(entries));
    });
    expect(read(text).integrity).toMatchObject({ hash: 'valid', signature: 'valid' });
    expect(codesOf(text, { requireSignature: true })).toEqual([]);
  });

  test('a key that is not known vouches for nothing', () => {
    const { text } = signed();
    const stranger = { isKnownKey: () => false };
    expect(read(text, stranger)).toMatchObject({
      ok: true,
      integrity: { signature: 'unknown-key' },
      findings: [{ code: 'SIGNATURE_UNKNOWN_KEY', level: 'warning' }],
    });
    expect(codesOf(text, { ...stranger, requireSignature: true })).toEqual(['SIGNATURE_REQUIRED']);
  });

  test('a head of the history that was exchanged is no longer signed', () => {
    const text = altered(signed().text, ({ integrity }) => {
      Object.assign((integrity as Loose).history ?? {}, { entries: 7 });
    });
    expect(codesOf(text)).toEqual(['SIGNATURE_INVALID']);
  });

  test('E.65 file name of a name with signs', () => {
    const project = { name: 'CPMAI: Gamma & Delta / v2' };
    const createdAt = '2025-12-24T18:00:00.000Z';
    const name = bundleFilename({ createdAt, project }, { now: NOW });
    expect(name).toBe('thingstead-project_cpmai-gamma-delta-v2_2025-12-24.json');
  });

  test.each([
    ['港湾', 'project'],
    ['../../etc/passwd', 'etcpasswd'],
    ['x'.repeat(300), 'x'.repeat(100)],
    ['CON', 'con'],
  ])('E.66 file name of %s', (name, slug) => {
    const filename = bundleFilename({ createdAt: 7, project: { name } }, { now: NOW });
    expect(filename).toBe(`thingstead-project_${slug}_2026-03-01.json`);
  });
});

describe('import', () => {
  test('E.47 an id that is taken: nothing is overwritten until a choice is made', () => {
    const book = newBook();
    const { text } = signed(book);
    const state = book.current();
    expect(into(state, text)).toEqual({
      status: 'collision',
      projectId: 'p-1',
      choices: ['overwrite', 'keep-both', 'cancel'],
    });
    expect(into(state, text, { onCollision: 'cancel' })).toEqual({
      status: 'cancelled',
      projectId: 'p-1',
    });
    const copy = importedBook(into(state, text, { onCollision: 'keep-both' })).document();
    expect([copy.id, copy.name]).toEqual(['p-copy', 'Harbour (Imported)']);
    const same = into(state, text, { onCollision: 'keep-both', newId: 'p-1' });
    expect(same.status).toBe('invalid');
  });

  test('overwriting takes the new content and keeps every audit entry', () => {
    const book = newBook();
    const { text } = signed(book);
    const artifact = artifactId(book);
    const rationale = 'Port authority already signed this off';
    book.apply(applyWaiver(book.current(), { ...by('lee', 40), artifactId: artifact, rationale }));
    book.apply(updateProject(book.current(), { ...by('lee', 41), name: 'Other' }));
    importedBook(into(book.current(), text, { onCollision: 'overwrite' }), book);
    expect(book.document().name).toBe('Harbour');
    expect(book.document().audit_log).toHaveLength(1);
    const repeated = into(book.current(), text, { onCollision: 'overwrite' });
    expect(
      repeated.status === 'success' && repeated.decision.ok && repeated.decision.events,
    ).toEqual([]);
  });

  test('overwriting never drops what the audit log names, nor what is immutable', () => {
    const book = newBook();
    const artifact = artifactId(book);
    const rationale = 'Port authority already signed this off';
    book.apply(applyWaiver(book.current(), { ...by('lee', 40), artifactId: artifact, rationale }));
    const other = { ...canonicalProject(), governance_mode: 'team', created: NOW };
    const lost = into(book.current(), JSON.stringify(other), { onCollision: 'overwrite' });
    expect(
      lost.status === 'invalid' && !lost.decision.ok && lost.decision.error.details,
    ).toMatchObject({
      findings: [{ code: 'AUDIT_SHORTENED' }],
    });
    const solo = newBook({ governanceMode: 'solo' });
    const changed = into(book.current(), exportProject(solo.document(), { now: NOW }).text, {
      onCollision: 'overwrite',
    });
    expect(
      changed.status === 'invalid' && !changed.decision.ok && changed.decision.error.field,
    ).toBe('$.governance_mode');
  });

  test('a document of old tells where it came from, in the document and in the history', () => {
    const old = { id: 'old', name: 'Old', phases: [{ id: 1, name: 'A', artifacts: [] }] };
    const text = JSON.stringify(old);
    const book = importedBook(
      into(undefined, text, { mode: 'lenient', read: read(text, { mode: 'lenient' }) }),
    );
    expect(book.document().meta.migrated_from).toBe('0');
    expect(book.events.map(({ type }) => type)).toEqual(['PROJECT_IMPORTED', 'PROJECT_MIGRATED']);
    expect(book.events[1]?.payload).toMatchObject({ from: '0', to: '1' });
    expect(migrateStored(book.current(), by('kim', 200), engine)).toMatchObject({
      ok: true,
      events: [],
    });
  });

  test('a stored document of an older schema is migrated by an event', () => {
    const book = newBook();
    const state = book.current();
    const { meta: _meta, schema_version: _version, ...old } = state.document;
    const stale = { ...state, document: old as ProjectState['document'] };
    const decision = migrateStored(stale, by('kim', 50), engine);
    const events = decision.ok ? decision.events : [];
    expect(events.map(({ type }) => type)).toEqual(['PROJECT_MIGRATED']);
    book.apply(decision);
    expect(book.document().meta.migrated_from).toBe('0');
  });

  test('what was not read is refused with the findings', () => {
    const outcome = into(undefined, '{nope');
    expect(
      outcome.status === 'invalid' && !outcome.decision.ok && outcome.decision.error,
    ).toMatchObject({
      code: 'PROJECT_INVALID',
      details: { findings: [{ code: 'BAD_JSON' }] },
    });
  });

  test('a stale integrity block does not stay in the project', () => {
    const book = importedBook(into(undefined, signed().text));
    expect(book.document()).not.toHaveProperty('integrity');
    expect(book.events[0]?.payload).toMatchObject({
      signature: 'valid',
      key_id: key?.keyId,
      history: { entries: 1 },
    });
  });
});

describe('history', () => {
  const waived = () => {
    const book = newBook();
    const artifact = artifactId(book);
    book.apply(
      updateArtifact(
        book.current(),
        { ...by('kim', 10), artifactId: artifact, notes: 'a' },
        engine,
      ),
    );
    const comment = { artifactId: artifact, commentId: 'c', commentType: 'advisory' as const };
    book.apply(addComment(book.current(), { ...by('lee', 20), ...comment, content: 'tide?' }));
    return book;
  };

  test('E.75 what is altered, taken out or cut off is found, and its place named', () => {
    const { events, current } = waived();
    const exported = historyHead(current());
    expect(verifyHistory(events, exported)).toMatchObject({ valid: true, entries: 3 });
    const changed = structuredClone(events);
    Object.assign(changed[1]?.payload ?? {}, { notes: 'b' });
    expect(verifyHistory(changed, exported)).toMatchObject({
      fault: 'HASH_MISMATCH',
      broken_at: 1,
    });
    const gap = events.filter((_event, index) => index !== 1);
    expect(verifyHistory(gap, exported)).toMatchObject({ fault: 'SEQUENCE_GAP', broken_at: 1 });
    const cut = events.slice(0, 2);
    expect(verifyHistory(cut)).toMatchObject({ valid: true });
    expect(verifyHistory(cut, exported)).toMatchObject({ fault: 'CUT', broken_at: 2 });
    const other = newBook();
    const artifact = artifactId(other);
    for (const at of [10, 20]) {
      const change = { ...by('mo', at), artifactId: artifact, notes: `${at}` };
      other.apply(updateArtifact(other.current(), change, engine));
    }
    expect(verifyHistory(other.events, exported)).toMatchObject({
      fault: 'REWRITTEN',
      broken_at: 2,
    });
  });

  test('E.75 no event is earlier than the one before it', () => {
    const book = waived();
    const artifact = artifactId(book);
    book.apply(
      updateArtifact(
        book.current(),
        { ...by('mo', -500), artifactId: artifact, notes: 'c' },
        engine,
      ),
    );
    expect(book.events.at(-1)?.timestamp).toBe(later(20));
    expect(verifyHistory(book.events)).toMatchObject({ valid: true });
  });

  test('a snapshot is the state itself: folding goes on from its JSON', () => {
    const { events, documents, state } = waived();
    const half = foldProject(events.slice(0, 2), documents);
    const snapshot = JSON.parse(JSON.stringify(half)) as ProjectState;
    expect(foldProject(events, documents, snapshot)).toEqual(state);
  });
});

describe('the meaning of schema 1 is frozen', () => {
  // A change of one of these is a change of what stored documents and histories mean: it needs a
  // new schema, engine, template or chain version, never another number here.
  test('a new project, its templates and its history', () => {
    const book = newBook({ planId: 'cpmai', governanceMode: 'solo' });
    const artifact = artifactId(book);
    const rationale = 'Port authority already signed this off';
    book.apply(applyWaiver(book.current(), { ...by('lee', 40), artifactId: artifact, rationale }));
    expect(projectHash(book.document())).toBe(
      'eedf013e7aabdcd3f691cba19aaff5e0d68fb4c13f72cf4034073920c1d5e0b2',
    );
    expect(historyHead(book.current()).head).toBe(
      'c7e955cc29427fe46b1b804e6716bfb3b6d4c4ef78c2177c1d799fb4c0171a7f',
    );
  });

  test('a document of old', () => {
    const comments = [{ content: 'tide?' }];
    const artifact = { id: 'a', name: 'Project Charter', status: 'not-required', comments };
    const old = { id: 'old', name: 'Old', phases: [{ id: 1, name: 'A', artifacts: [artifact] }] };
    const { project } = read(JSON.stringify(old), { mode: 'lenient' });
    expect(projectHash(project ?? {})).toBe(
      'cbf20500558431083f8a5bf36e786f6a541c61db04d5b329da41925369a395c0',
    );
  });
});

describe('keys', () => {
  test('a rotated key signs no more, and what it signed stays valid', () => {
    const { text } = signed();
    const rotated = rotateKey(ring, newKeyPair(), later(5));
    expect(listKeys(rotated).map(({ signs }) => signs)).toEqual([false, true]);
    expect(signingKey(rotated)?.keyId).not.toBe(key?.keyId);
    expect(read(text, { isKnownKey: knows(rotated) }).integrity?.signature).toBe('valid');
    expect(JSON.stringify(listKeys(rotated))).not.toContain('"d"');
  });

  test('the public half of a key makes another installation know it', () => {
    const jwk = exportPublicKey(ring, key?.keyId ?? '');
    const theirs = trustKey(EMPTY_RING, jwk, NOW);
    expect(signingKey(theirs)).toBeUndefined();
    expect(read(signed().text, { isKnownKey: knows(theirs) }).integrity?.signature).toBe('valid');
    expect(keyIdOf(jwk)).toBe(key?.keyId);
    expect(() => exportPublicKey(ring, 'none')).toThrow(
      expect.toSatisfy((error: unknown) => isAppError(error, 'SIGNING_KEY_NOT_FOUND')),
    );
  });

  test('a ring is read back from its JSON; a damaged one is refused', () => {
    const stored = JSON.parse(JSON.stringify(ring)) as { keys: Loose[] };
    expect(readKeyRing(stored)).toEqual(ring);
    Object.assign(stored.keys[0] ?? {}, { key_id: 'f'.repeat(64) });
    expect(() => readKeyRing(stored)).toThrow(TypeError);
  });

  test.each([{ kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA' }, { kty: 'RSA' }, null])(
    'a signature of a key that is none is invalid: %j',
    (public_key_jwk) => {
      const signature = { public_key_jwk, signature_b64url: 'A'.repeat(86) };
      const report = verifyIntegrity({ id: 'p', integrity: { signature } }, () => true);
      expect(report).toMatchObject({ hash: 'absent', signature: 'invalid' });
    },
  );
});

describe('plans are plug-ins', () => {
  const tide: PlanProfile = {
    id: 'tide',
    version: '2',
    label: 'Tide',
    phaseCount: 2,
    phases: [
      { phaseNumber: 1, name: 'Ebb' },
      { phaseNumber: 2, name: 'Flow' },
    ],
    check: ({ name }) => (name === 'Storm' ? ['no storms'] : []),
  };
  const own = createEngine([tide]);

  test('a project is made and judged by a plan that the engine has never heard of', () => {
    const command = { ...by('kim'), projectId: 't', garrisonId: 'g', name: 'Storm', deviceId: 'd' };
    const book = createBook();
    book.apply(
      createProject(undefined, { ...command, planId: 'tide', governanceMode: 'team' }, own),
    );
    const unknown = { ...command, planId: 'tides', governanceMode: 'team' as const };
    const refused = createProject(undefined, unknown, own);
    expect(!refused.ok && [refused.error.field, refused.error.message]).toEqual([
      'plan_id',
      expect.stringContaining('tide'),
    ]);
    const phases = [{ name: 'One' }];
    const free = createProject(undefined, { ...unknown, phases }, own);
    expect(free.ok && free.warnings.map(({ code }) => code)).toContain('PLAN_PROFILE_UNKNOWN');
    expect(book.document().phases.map(({ name }) => name)).toEqual(['Ebb', 'Flow']);
    const rules = { engine: own, planRules: true };
    const { text } = exportProject(book.document(), { now: NOW });
    expect(codesOf(text, rules)).toEqual(['PLAN_PROFILE_RULE']);
    const unplanned = altered(text, (project) => {
      delete project.integrity;
      (project.phases as Loose[]).pop();
      Object.assign((project.phases as Loose[])[0] ?? {}, { name: ' EBB ' });
    });
    expect(codesOf(unplanned, { ...rules, mode: 'lenient' })).toEqual([
      'PLAN_PROFILE_PHASE_COUNT',
      'PLAN_PROFILE_PHASE_NUMBERS',
      'PLAN_PROFILE_NAME_MISSING',
      'PLAN_PROFILE_PHASE_NAMES',
      'PLAN_PROFILE_RULE',
    ]);
    expect(codesOf(text, { engine, planRules: true })).toEqual(['PLAN_PROFILE_UNKNOWN']);
  });

  test.each([
    [null, 'is not an object'],
    [{ ...tide, id: ' ' }, 'id must'],
    [{ ...tide, phaseCount: 0 }, 'phaseCount must be an integer'],
    [{ ...tide, phaseCount: 3 }, 'number of phases'],
    [{ ...tide, phases: [{ name: 'Ebb' }] }, 'phases[0]'],
  ])('a plan that is none is refused: %#', (plan, reason) => {
    expect(planFault(plan)).toContain(reason);
  });
});
