import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseProjectEvent } from '#libs/contracts';
import {
  canonicalJson,
  contextOf,
  diffPaths,
  diffValues,
  entryHash,
  exportProject,
  foldProject,
  historyHead,
  importProject,
  migrateProject,
  normalizeProject,
  projectHash,
  readProject,
  revertTo,
  validateProject,
  verifyHistory,
} from './mod.ts';
import { createRandom, mutate } from './testdata/mutate.ts';
import {
  arbitraryStep,
  type Book,
  by,
  canonicalArtifact,
  canonicalPhase,
  canonicalProject,
  decideStep,
  engine,
  later,
  newBook,
  NOW,
  type Step,
} from './testdata/projects.ts';

const context = contextOf(engine, NOW);
const steps = fc.array(arbitraryStep, { maxLength: 30, size: 'max' });
const plan = fc.record({
  governanceMode: fc.constantFrom('solo' as const, 'team' as const),
  planId: fc.constantFrom('cpmai', 'harbour-plan'),
  name: fc.string({ minLength: 1, unit: 'grapheme' }).filter((name) => name.trim() !== ''),
  blocking: fc.boolean(),
});
type Given = { governanceMode: 'solo' | 'team'; planId: string; name: string; blocking: boolean };

/** A project with a life behind it: what commands of any kind have left. */
function livedBook(
  given: Given,
  taken: readonly Step[],
  seen: (book: Book) => void = () => {},
): Book {
  const book = newBook(given);
  seen(book);
  for (const [index, step] of taken.entries()) {
    const decision = decideStep(book.current(), step, index + 1);
    if (decision.ok) book.apply(decision);
    seen(book);
  }
  return book;
}

const arbitraryDocument = fc.nat().map((seed) => {
  const artifact = canonicalArtifact('a', 1, { comments: [{}], status: 'not-required' });
  const project = { ...canonicalProject(), phases: [canonicalPhase(1, artifact)] };
  return mutate(JSON.stringify(project), createRandom(seed));
});

describe('documents', () => {
  test('migration is deterministic and leaves its input alone', () => {
    fc.assert(
      fc.property(arbitraryDocument, (document) => {
        const before = JSON.stringify(document);
        const first = migrateProject(document, context);
        expect(JSON.stringify(document)).toBe(before);
        expect(canonicalJson(migrateProject(document, context))).toBe(canonicalJson(first));
      }),
    );
  });

  test('normalization is idempotent, whatever the second clock says', () => {
    fc.assert(
      fc.property(arbitraryDocument, (document) => {
        const once = normalizeProject(document, context);
        expect(diffPaths(once, normalizeProject(once, { ...context, now: later(7) }))).toEqual([]);
      }),
    );
  });

  test('the canonical form does not depend on the order of keys and can be read back', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
        const turned = Object.fromEntries(Object.entries(value).toReversed());
        expect(canonicalJson(turned)).toBe(text);
      }),
    );
  });

  test('two values differ in some path exactly where their canonical forms differ', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), (a, b) => {
        expect(diffPaths(a, b).length === 0).toBe(canonicalJson(a) === canonicalJson(b));
        expect(diffPaths(a, structuredClone(a))).toEqual([]);
      }),
    );
  });
});

describe('projects with a life behind them', () => {
  test('E.67 export then strict import is clean, with the same hash', () => {
    fc.assert(
      fc.property(plan, steps, (given, taken) => {
        const book = livedBook(given, taken);
        const { text, hash } = exportProject(book.document(), {
          now: later(90),
          history: historyHead(book.current()),
        });
        const { ok, findings, project, changes } = readProject(text, {
          engine,
          now: later(91),
          planRules: given.planId === 'cpmai',
        });
        expect([ok, findings]).toEqual([true, []]);
        expect(changes).toEqual([]);
        expect(projectHash(project ?? {})).toBe(hash);
      }),
    );
  });

  test('the audit log only grows: by commands, by undoing, by overwriting', () => {
    fc.assert(
      fc.property(plan, steps, fc.nat(), fc.boolean(), (given, taken, at, overwrite) => {
        let log: readonly unknown[] = [];
        const past: ReturnType<Book['current']>[] = [];
        const grows = (book: Book): void => {
          const now = book.document().audit_log;
          expect(now.slice(0, log.length)).toEqual(log);
          log = now;
          past.push(book.current());
        };
        const book = livedBook(given, taken, grows);
        const then = past[at % past.length] ?? book.current();
        if (overwrite) {
          const read = readProject(exportProject(then.document, { now: NOW }).text, {
            engine,
            now: NOW,
          });
          const command = {
            ...by('mo', 95),
            garrisonId: 'g',
            read,
            mode: 'strict' as const,
            newId: 'x',
          };
          const outcome = importProject(book.current(), { ...command, onCollision: 'overwrite' });
          if (outcome.status !== 'success') throw new Error(outcome.status);
          book.apply(outcome.decision);
        } else {
          book.apply(revertTo(book.current(), then, by('mo', 95)));
        }
        grows(book);
        const waivers = book.events.filter(({ type }) => type.startsWith('WAIVER_'));
        expect(book.document().audit_log).toHaveLength(waivers.length);
      }),
    );
  });

  test('undoing brings content and waivers back to what they were', () => {
    const contentOf = (state: ReturnType<Book['current']>) =>
      state.document.phases.flatMap(({ artifacts }) =>
        artifacts.map(({ name, rationale, notes, field_values, waiver }) => ({
          name,
          rationale,
          notes,
          field_values,
          waived: waiver?.waived === true ? waiver.rationale : null,
        })),
      );
    fc.assert(
      fc.property(plan, steps, fc.nat(), (given, taken, at) => {
        const past: ReturnType<Book['current']>[] = [];
        const book = livedBook(given, taken, ({ current }) => past.push(current()));
        const then = past[at % past.length] ?? book.current();
        book.apply(revertTo(book.current(), then, by('mo', 95)));
        expect(contentOf(book.current())).toEqual(contentOf(then));
      }),
    );
  });

  test('the history is whole, and any snapshot leads to the same state', () => {
    fc.assert(
      fc.property(plan, steps, fc.nat(), (given, taken, at) => {
        const { events, documents, state, current } = livedBook(given, taken);
        expect(verifyHistory(events, historyHead(current())).valid).toBe(true);
        const half = foldProject(events.slice(0, 1 + (at % events.length)), documents);
        expect(foldProject(events, documents, half)).toEqual(state);
        // An event that is folded again changes nothing.
        expect(foldProject(events, documents, state)).toBe(state);
      }),
    );
  });

  test('every event is of its declared shape, and reads back as it was hashed', () => {
    fc.assert(
      fc.property(plan, steps, (given, taken) => {
        for (const { seq: _seq, ...event } of livedBook(given, taken).events) {
          const parsed = parseProjectEvent(JSON.parse(JSON.stringify(event)));
          expect(parsed).toEqual(event);
          expect(entryHash(parsed)).toBe(event.hash);
        }
      }),
    );
  });

  test('a changed event is found at its place', () => {
    fc.assert(
      fc.property(plan, steps, fc.nat(), (given, taken, at) => {
        const book = livedBook(given, taken);
        const links = book.events.filter((event) => 'sequence' in event);
        const target = links[at % links.length];
        const changed = links.map((event) =>
          event === target ? { ...event, actor_id: `${event.actor_id}!` } : event,
        );
        expect(verifyHistory(changed)).toMatchObject({
          fault: 'HASH_MISMATCH',
          broken_at: links.indexOf(target ?? (links[0] as never)),
        });
      }),
    );
  });

  test('a command told twice writes once', () => {
    fc.assert(
      fc.property(plan, steps, arbitraryStep, (given, taken, step) => {
        const book = livedBook(given, taken);
        const decision = decideStep(book.current(), step, 50);
        // A heartbeat is news each time; a reopened gate may be decided and reopened again.
        if (!decision.ok || step.kind === 9) return;
        book.apply(decision);
        const again = decideStep(book.current(), step, 51);
        const written = again.ok ? again.events.map(({ type }) => type) : [];
        expect(written).toEqual([]);
      }),
    );
  });
});

test('the work of validation grows in step with the document, not faster', () => {
  /** Reads of members while a project of so many artifacts is validated. */
  const readsOf = (artifacts: number): number => {
    const list = Array.from({ length: artifacts }, (_, index) =>
      canonicalArtifact(`a-${index}`, 1, { comments: [{ id: 'c', content: 'x' }] }),
    );
    let reads = 0;
    const counted = <T extends object>(value: T): T => {
      for (const [key, part] of Object.entries(value)) {
        if (typeof part === 'object' && part !== null)
          Object.assign(value, { [key]: counted(part) });
      }
      return new Proxy(value, {
        get: (target, key, receiver) => {
          reads += 1;
          return Reflect.get(target, key, receiver) as unknown;
        },
      });
    };
    const audit_log = list.map(({ id }) => ({ artifact_id: id, phase_id: '1' }));
    const project = { ...canonicalProject(), audit_log, phases: [canonicalPhase(1, ...list)] };
    const { ok } = validateProject(counted(project), { ...context, canonical: false });
    expect(ok).toBe(true);
    return reads;
  };
  const [one, ten] = [readsOf(100), readsOf(1_000)];
  expect(ten).toBeLessThan(one * 11);
  expect(one).toBeGreaterThan(1_000);
});

test('every change of a migration leads from the old value to the new one', () => {
  fc.assert(
    fc.property(arbitraryDocument, (document) => {
      const migration = migrateProject(document, context);
      if (!migration.ok) return;
      expect(diffValues(document, migration.document)).toEqual(migration.changes);
    }),
  );
});
