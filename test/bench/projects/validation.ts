import { contextOf, createEngine, normalizeProject, validateProject } from '#libs/projects';
import { pairRow, type Row } from '../report.ts';
import { inPairs, median, perSecond } from '../stats.ts';
import { projectOf } from './documents.ts';

const MEGABYTE = 1_000_000;
/** Of CPU, for one document of 1 MB. */
const GOAL_MS = 50;

/** Normalizing and validating a document, against reading its JSON; and the same by size. */
export async function benchValidation(pairs: number, durationMs: number): Promise<Row[]> {
  const context = contextOf(createEngine(), '2026-01-02T03:04:05.006Z');
  const check = (document: unknown): void => {
    normalizeProject(document, context);
    const { ok } = validateProject(document, context);
    if (!ok) throw new Error('the document of the bench is not valid');
  };
  const cpuMs: number[] = [];
  const checked = (document: unknown) => async (): Promise<number> => {
    const before = process.cpuUsage();
    const { count, rate } = repeat(durationMs, () => check(document));
    const { user, system } = process.cpuUsage(before);
    cpuMs.push((user + system) / 1_000 / count);
    return rate;
  };
  const document = projectOf(MEGABYTE);
  const text = JSON.stringify(document);
  const parsed = async (): Promise<number> => repeat(durationMs, () => JSON.parse(text)).rate;
  const whole = await inPairs(pairs, parsed, checked(document), async () => check(document));
  const cpu = median(cpuMs);
  const note = `${cpu.toFixed(1)} ms of CPU a document; goal ${GOAL_MS} ms: ${
    cpu <= GOAL_MS ? 'met' : 'not met'
  }; raw is JSON.parse of it`;
  const rows = [
    pairRow(
      {
        id: 'validate',
        what: `normalize and validate ${(text.length / MEGABYTE).toFixed(2)} MB`,
        unit: 'documents/s',
        note,
      },
      whole,
    ),
  ];
  // The same bytes a second whatever the size: then time is linear in it.
  const small = projectOf(MEGABYTE / 4);
  const bytesOf = (one: unknown): number => JSON.stringify(one).length / MEGABYTE;
  const [smallMb, wholeMb] = [bytesOf(small), bytesOf(document)];
  const bySize = await inPairs(
    pairs,
    async () => (await checked(small)()) * smallMb,
    async () => (await checked(document)()) * wholeMb,
    async () => check(small),
  );
  const linear = { id: 'validate-linear', what: '1 MB against 0.25 MB', unit: 'MB/s', goal: 0.7 };
  rows.push(pairRow(linear, bySize));
  return rows;
}

function repeat(durationMs: number, work: () => unknown): { count: number; rate: number } {
  const startedAt = performance.now();
  let count = 0;
  while (count === 0 || performance.now() - startedAt < durationMs) {
    work();
    count += 1;
  }
  return { count, rate: perSecond(count, performance.now() - startedAt) };
}
