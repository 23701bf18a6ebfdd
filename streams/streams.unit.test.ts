import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { STREAMS, streamsTable, streamsWithReplicas } from './mod.ts';

test('README.md holds the table of the declarations', async () => {
  const readme = await readFile(new URL('./README.md', import.meta.url), 'utf8');
  expect(readme).toContain(`\n${streamsTable(STREAMS)}\n`);
});

test('no name and no subject pattern is declared twice', () => {
  const names = STREAMS.map((stream) => stream.name);
  const subjects = STREAMS.flatMap((stream) => stream.subjects);
  expect(new Set(names).size).toBe(names.length);
  expect(new Set(subjects).size).toBe(subjects.length);
});

test('no stream of facts has a limit that drops facts', () => {
  for (const name of ['LEDGER', 'FEEDS', 'MISSIONS', 'PROJECTS']) {
    const stream = STREAMS.find((candidate) => candidate.name === name);
    expect(stream).toMatchObject({
      retention: 'limits',
      discard: 'new',
      maxBytes: -1,
      maxAgeMs: 0,
      denyDelete: true,
      denyPurge: true,
    });
  }
});

test('queues refuse when full and are bounded', () => {
  for (const stream of STREAMS.filter(({ retention }) => retention === 'workqueue')) {
    expect(stream.discard).toBe('new');
    expect(stream.maxBytes).toBeGreaterThan(0);
  }
});

test('replicas are set on every stream and nothing else changes', () => {
  expect(streamsWithReplicas(3).map((stream) => ({ ...stream, replicas: 1 }))).toEqual(STREAMS);
});
