import { expect, test } from 'vitest';
import {
  addComment,
  applyWaiver,
  canonicalJson,
  computeState,
  contextOf,
  diffPaths,
  exportProject,
  hasErrors,
  normalizeProject,
  readProject,
  readProjectValue,
  validateProject,
  verifyProject,
  wrapProject,
} from './mod.ts';
import { createRandom, mutate } from './testdata/mutate.ts';
import {
  artifactId,
  by,
  canonicalArtifact,
  canonicalPhase,
  canonicalProject,
  engine,
  later,
  newBook,
  NOW,
} from './testdata/projects.ts';

/** How many documents are tried; more for a longer look: PROJECTS_FUZZ_CASES=100000. */
const CASES = Number(process.env.PROJECTS_FUZZ_CASES ?? 4_000);
const context = contextOf(engine, NOW);

const filled = (): string => {
  const book = newBook();
  const target = { ...by('kim', 1), artifactId: artifactId(book) };
  book.apply(
    applyWaiver(book.current(), { ...target, rationale: 'Port authority signed this off' }),
  );
  const comment = { commentId: 'c', commentType: 'advisory' as const, content: 'tide?' };
  book.apply(addComment(book.current(), { ...target, ...comment }));
  return exportProject(book.document(), { now: later(2) }).text;
};
const old = {
  id: 'old',
  name: 'Old',
  phases: [{ id: 1, name: 'A', artifacts: [{ id: 'a', name: 'B', status: 'not-required' }] }],
};
const SEEDS: string[] = [
  JSON.stringify(canonicalProject()),
  JSON.stringify(old),
  JSON.stringify(wrapProject(old, { now: NOW })),
  JSON.stringify({
    ...canonicalProject(),
    phases: [
      canonicalPhase(1, canonicalArtifact('a', 1, { templateData: { x: 1 }, comments: [{}] })),
      canonicalPhase(2, canonicalArtifact('b', 2)),
    ],
  }),
  filled(),
];

/** Everything that documents from outside are put through. */
function put(value: unknown): void {
  const text = JSON.stringify(value);
  const read = readProject(text, { engine, now: NOW, planRules: true });
  const lenient = readProjectValue(value, { engine, now: NOW, mode: 'lenient' });
  for (const mode of ['strict', 'lenient'] as const) validateProject(value, { ...context, mode });
  computeState(value, engine.registry);
  verifyProject(value, { engine, now: NOW, isKnownKey: () => true });
  const once = normalizeProject(value, context);
  const twice = normalizeProject(once, { ...context, now: later(9) });
  expect(diffPaths(once, twice)).toEqual([]);
  expect(canonicalJson(JSON.parse(canonicalJson(value)))).toBe(canonicalJson(value));
  for (const { ok, findings, project } of [read, lenient]) {
    expect(ok).toBe(project !== null);
    expect(ok).toBe(!hasErrors(findings));
  }
  if (read.project === null) return;
  // What was accepted strictly comes back from its export, clean and the same.
  const exported = exportProject(read.project, { now: later(3) });
  const again = readProject(exported.text, { engine, now: later(4) });
  expect([again.ok, again.integrity?.hash]).toEqual([true, 'valid']);
  expect(exportProject(again.project ?? {}, { now: later(3) }).hash).toBe(exported.hash);
}

test(`${CASES} mutated documents: nothing throws, nothing is polluted`, {
  timeout: 600_000,
}, () => {
  const before = Object.getOwnPropertyNames(Object.prototype);
  for (let seed = 0; seed < CASES; seed += 1) {
    const random = createRandom(seed);
    const value = mutate(SEEDS[seed % SEEDS.length] ?? '{}', random);
    try {
      put(value);
    } catch (error) {
      throw new Error(`case ${seed}: ${JSON.stringify(value)}`, { cause: error });
    }
  }
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});
