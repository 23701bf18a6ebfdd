import { readFile } from 'node:fs/promises';
import { demandSnapshot } from '#libs/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  countDemand,
  demandSnapshotOf,
  type Draft,
  fingerprintDigest,
  type QueueItem,
} from './builder.ts';

type Vector = {
  id: string;
  state: {
    drafts: { draftId: string; pillar: string; scoreBreakdown: object; tag: string }[];
    queue: { id: string; draftRecordId?: string; selectedForDraft?: boolean }[];
  };
  snapshot: Record<string, unknown>;
  fingerprint: unknown;
};

const url = new URL('../../../test/vectors/openclaw/demand-builder-vectors.json', import.meta.url);
const { vectors, generatedAtUtc } = JSON.parse(await readFile(url, 'utf8')) as {
  vectors: Vector[];
  generatedAtUtc: string;
};

test.each(vectors)(
  'vector $id: $state counted as the original counted it',
  ({ state, snapshot, fingerprint }) => {
    const drafts = state.drafts.map(({ scoreBreakdown, ...rest }) => ({
      ...rest,
      clusters: Object.keys(scoreBreakdown),
    }));
    const queue = state.queue.map(({ id, draftRecordId, selectedForDraft }) => ({
      id,
      draftId: draftRecordId,
      selected: selectedForDraft,
    }));
    const demand = countDemand(drafts, queue);
    expect(demand.fingerprint).toEqual(fingerprint);
    const { summaryId, ...rest } = demandSnapshotOf(demand, new Date(generatedAtUtc));
    const { summaryId: _, ...wanted } = snapshot;
    expect(rest).toEqual(wanted);
    expect(summaryId).toMatch(`demand.summary.${generatedAtUtc}.`);
  },
);

const cluster = fc.constantFrom('approval_loops', 'execution_stalls', 'debug_blindness', 'other');
const anyDrafts: fc.Arbitrary<Draft[]> = fc.array(
  fc.record({
    draftId: fc.constantFrom('a', 'b', 'c', 'd'),
    pillar: fc.constantFrom('x', ' X ', 'y', ''),
    clusters: fc.array(cluster, { maxLength: 3 }),
    tag: fc.constantFrom('', 'draft', 'priority', 'manual-review'),
  }),
);
const anyQueue: fc.Arbitrary<QueueItem[]> = fc.array(
  fc.record({
    id: fc.string(),
    draftId: fc.constantFrom('a', 'b', undefined),
    selected: fc.boolean(),
  }),
);

test('any work gives a summary that the strict schema takes, and the order of the work changes nothing', () => {
  fc.assert(
    fc.property(anyDrafts, anyQueue, (drafts, queue) => {
      const demand = countDemand(drafts, queue);
      const snapshot = demandSnapshotOf(demand, new Date(0));
      expect(demandSnapshot.parse(snapshot)).toEqual(snapshot);
      const turned = countDemand(drafts.toReversed(), queue.toReversed());
      expect(turned).toEqual(demand);
      expect(fingerprintDigest(turned.fingerprint)).toBe(fingerprintDigest(demand.fingerprint));
      const { draft, priority, manualReview } = snapshot.tagCounts;
      expect(draft + priority + manualReview).toBe(snapshot.draftTotal);
      const more = countDemand(
        [...drafts, { draftId: 'z', pillar: '', clusters: [], tag: '' }],
        queue,
      );
      expect(fingerprintDigest(more.fingerprint)).not.toBe(fingerprintDigest(demand.fingerprint));
    }),
  );
});
