import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StoredEvent } from '#libs/contracts';
import type { Projection } from '#libs/projections';
import { testLogger } from '#libs/testing';
import { openLedgerViews } from '../views.ts';
import { followEvents } from './source.ts';

/** A folder of one test. */
export async function testFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'ironclaw-views-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Views in `folder` that have applied all of `events`. */
export async function viewsOf(
  folder: string,
  events: readonly StoredEvent[],
  batchSize: () => number = () => 4_000,
): Promise<Projection> {
  const followed = followEvents(events, batchSize);
  const views = await openLedgerViews({ folder, logger: testLogger(), ...followed });
  await views.waitFor(events.at(-1)?.seq ?? 0, { timeoutMs: 60_000 });
  return views;
}
