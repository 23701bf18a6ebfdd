import { setTimeout as sleep } from 'node:timers/promises';
import type { StoredEvent } from '#libs/contracts';
import { createLease, emitDemand, lastFingerprint, type Outbox } from '#libs/outbox';
import { openProjection, type Projection } from '#libs/projections';
import { followLedger, type RoleContext } from '#libs/runtime';
import { countDemand, demandSnapshotOf, fingerprintDigest } from './builder.ts';
import { readWorkload, workloadView } from './workload.ts';

const LEASE_MS = 10_000;
const LEVEL_MS = 5_000;

export type DemandOptions = {
  outbox: Outbox;
  targets: readonly string[];
  folder: string;
  holder: string;
};

/**
 * Looks at queue and drafts once a period and sends a summary where a counter has changed. The
 * fingerprint of the last one lies beside it in the outbox, so a restart sends none anew.
 */
export async function startDemand(context: RoleContext, options: DemandOptions) {
  const { broker, config, log, logger } = context;
  const projection = await openProjection<StoredEvent>({
    ...followLedger(broker),
    folder: options.folder,
    name: 'workload',
    views: [workloadView],
    logger,
  });
  const lease = createLease(broker, {
    kind: 'demand',
    id: config.garrisonId,
    holder: options.holder,
    ttlMs: LEASE_MS,
    clock: () => performance.now(),
  });
  const stopping = new AbortController();
  const { signal } = stopping;

  const run = async (): Promise<void> => {
    // Until the past has been read, counters only pass through what they were.
    let seenSeq = -1;
    while (!signal.aborted) {
      try {
        if (isLevel(projection) && projection.at() !== seenSeq && (await lease.hold())) {
          seenSeq = await emitChange(projection, options, log.defaults.now());
        }
      } catch (error) {
        logger.warn({ err: error }, 'no demand summary could be queued; trying again');
      }
      // Aborting is how the pause is cut short, not a failure.
      await sleep(config.demandMs, undefined, { signal }).catch(() => undefined);
    }
    await lease.release().catch((error: unknown) => {
      // It ends by itself.
      logger.debug({ err: error }, 'the lease could not be given back');
    });
  };
  const running = run();
  return {
    async close(): Promise<void> {
      stopping.abort();
      await running;
      await projection.close();
    },
  };
}

function isLevel(projection: Projection): boolean {
  return projection.caughtUpAt() !== undefined;
}

/** Queues a summary if it says something new. @returns the sequence of the ledger it reflects */
async function emitChange(
  projection: Projection,
  { outbox, targets }: DemandOptions,
  now: Date,
): Promise<number> {
  const { seq, demand } = projection.read((reader) => {
    const { drafts, queue } = readWorkload(reader);
    return { seq: reader.seq, demand: countDemand(drafts, queue) };
  });
  const fingerprint = fingerprintDigest(demand.fingerprint);
  // What another process has queued just now counts too.
  await outbox.projection.catchUp({ timeoutMs: LEVEL_MS });
  if (outbox.projection.read(lastFingerprint) === fingerprint) return seq;
  const { store } = outbox;
  const options = { store, targets, now, fingerprint };
  const { deliveries } = await emitDemand(demandSnapshotOf(demand, now), options);
  const last = Math.max(...deliveries.map((one) => one.seq));
  await outbox.projection.waitFor(last, { timeoutMs: LEVEL_MS });
  return seq;
}
