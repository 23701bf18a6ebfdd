import { describe, expect, test } from 'vitest';
import { refusal } from './arrows.ts';
import { importsOf, sources } from './sources.ts';

test('every import follows the arrows of ARCHITECTURE.md', () => {
  const refused = sources().flatMap((source) =>
    importsOf(source).flatMap((specifier) => {
      const why = refusal(source.path, specifier);
      return why === undefined ? [] : [`${source.path} imports ${specifier}: ${why}`];
    }),
  );
  expect(refused).toEqual([]);
});

test('imports are found however they are written', () => {
  const text = [
    "import './a.ts';",
    "import type { B } from './b.ts';",
    "export { c } from './c.ts';",
    "export * from './d.ts';",
    "export type { E } from './e.ts';",
    "const f: unknown = await import('./f.ts');",
  ].join('\n');
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  expect(importsOf({ path: 'x.ts', text })).toEqual(names.map((name) => `./${name}.ts`));
});

describe('an import is refused', () => {
  test.each([
    ['libs/orders/decide.ts', '#libs/broker'],
    ['libs/broker/server.ts', '#libs/eventlog'],
    ['libs/broker/server.ts', '#libs/testing'],
    ['libs/worktrees/mod.ts', '#streams'],
    ['libs/eventlog/append.ts', '../../apps/co/role.ts'],
    ['libs/eventlog/append.ts', '../broker/server.ts'],
    ['libs/contracts/ids.ts', 'ulid'],
    ['libs/orders/decide.ts', 'node:fs'],
    ['apps/co/role.ts', '../vault/role.ts'],
    ['apps/co/role.ts', '../../libs/broker/internal.ts'],
    ['apps/co/role.ts', '#libs/testing'],
    ['apps/co/role.ts', '../../deploy/bootstrap/nats-server.mjs'],
    ['apps/console/main.ts', '#libs/contracts'],
    ['apps/cli/up.ts', '../co/role.ts'],
    ['apps/cli/roles.ts', '../co/plan.ts'],
    ['streams/ledger.ts', '#libs/broker'],
    ['libs/orders/decide.unit.test.ts', '../../apps/co/role.ts'],
  ])('%s imports %s', (importer, specifier) => {
    expect(refusal(importer, specifier)).toBeTypeOf('string');
  });
});

describe('an import is accepted', () => {
  test.each([
    ['libs/orders/decide.ts', '#libs/contracts'],
    ['libs/orders/decide.ts', './state.ts'],
    ['libs/eventlog/append.ts', '#libs/broker'],
    ['libs/broker/streams.ts', '#streams'],
    ['libs/eventlog/append.ts', '../broker/internal.ts'],
    ['libs/testing/broker.ts', '#libs/projections'],
    ['libs/broker/binary.ts', '../../deploy/bootstrap/nats-server.mjs'],
    ['libs/eventlog/append.int.test.ts', '#libs/testing'],
    ['libs/eventlog/append.int.test.ts', '#streams'],
    ['apps/co/role.ts', '#libs/eventlog'],
    ['apps/co/role.ts', '#streams'],
    ['apps/cli/roles.ts', '../co/role.ts'],
    ['test/e2e/demo.test.ts', '../../apps/co/plan.ts'],
  ])('%s imports %s', (importer, specifier) => {
    expect(refusal(importer, specifier)).toBeUndefined();
  });
});
