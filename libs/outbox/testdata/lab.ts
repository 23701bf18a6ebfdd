import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Broker } from '#libs/broker';
import { targetSettings } from '#libs/contracts';
import { startTestBroker, type TestBroker, testLogger, waitFor } from '#libs/testing';
import { LEASES, OUTBOX } from '#streams';
import type { DeliveryPolicy } from '../backoff.ts';
import { emitMilestone } from '../emit.ts';
import { type Ledger, EMPTY_LEDGER } from '../health.ts';
import { openOutbox, type Outbox } from '../outbox.ts';
import { createSend } from '../transports.ts';
import { countTargets, type DeliveryRow, listDeliveries } from '../view.ts';

/** Patient as the default one, in small: 0.02 s to 0.2 s. */
export const QUICK: DeliveryPolicy = { attemptsMax: 100, firstMs: 20, maxMs: 200 };

export type Lab = AsyncDisposable & {
  testBroker: TestBroker;
  broker: Broker;
  /** Starts an outbox on a folder of its own; named targets to the URLs of their receivers. */
  start(targets: Record<string, string>, policy?: Partial<DeliveryPolicy>): Promise<Outbox>;
  stop(outbox: Outbox): Promise<void>;
};

/** A broker, and outboxes on it that are closed at the end. */
export async function startLab(outboxBytes = OUTBOX.maxBytes): Promise<Lab> {
  const outboxStream = { ...OUTBOX, maxBytes: outboxBytes };
  const testBroker = await startTestBroker({ streams: [outboxStream, LEASES] });
  const broker = await testBroker.connect();
  const open = new Set<Outbox>();
  const folders: string[] = [];
  const stop = async (outbox: Outbox): Promise<void> => {
    open.delete(outbox);
    await outbox.close();
  };
  return {
    testBroker,
    broker,
    stop,
    async start(targets, policy = {}) {
      const folder = await mkdtemp(join(tmpdir(), 'ironclaw-outbox-'));
      folders.push(folder);
      const now = (): Date => new Date();
      const outbox = await openOutbox({
        broker,
        folder,
        destinations: Object.entries(targets).map(([name, url]) => ({
          name,
          send: createSend(
            broker,
            targetSettings.parse({ url, timeout_ms: 2_000 }),
            () => ({ 'x-openclaw-timestamp': now().toISOString() }),
            now,
          ),
        })),
        policy: { ...QUICK, ...policy },
        holder: folder,
        // No busy machine loses it in the middle; who stops gives it back.
        leaseMs: 30_000,
        now,
        random: Math.random,
        logger: testLogger('outbox'),
      });
      open.add(outbox);
      return outbox;
    },
    async [Symbol.asyncDispose]() {
      for (const outbox of open) await outbox.close();
      await testBroker[Symbol.asyncDispose]();
      for (const folder of folders) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A good milestone; the same number gives the same one. */
export function milestone(number: number): Record<string, unknown> {
  return {
    milestoneId: `m-${number}`,
    timestampUtc: '2026-03-01T10:00:00.000Z',
    scope: 'runtime',
    claim: `claim ${number}`,
    evidence: [{ type: 'log', path: 'runs/r1', summary: 'seen' }],
    riskStatus: 'on-track',
    nextAction: 'none',
    source: 'agent',
  };
}

/** Queues milestones `from` to `to` and answers their keys, in order. */
export async function emitMany(
  { store }: Outbox,
  targets: readonly string[],
  from: number,
  to: number,
): Promise<string[]> {
  const keys: string[] = [];
  for (let number = from; number <= to; number += 1) {
    const one = await emitMilestone(milestone(number), { store, targets, now: new Date() });
    keys.push(one.idempotency_key);
  }
  return keys;
}

export function ledgerOf({ projection }: Outbox, target: string): Ledger {
  const counts = projection.read((db) => countTargets(db));
  return counts.find((one) => one.target === target)?.ledger ?? EMPTY_LEDGER;
}

export function rowsOf({ projection }: Outbox, target: string): DeliveryRow[] {
  return projection.read((db) => listDeliveries(db, { target, limit: 1_000 }));
}

/** Waits until the ledger of a target has these counts. */
export async function waitLedger(
  outbox: Outbox,
  target: string,
  want: Partial<Ledger>,
): Promise<void> {
  await waitFor(
    () => {
      const have = ledgerOf(outbox, target);
      return Object.entries(want).every(([state, count]) => have[state as keyof Ledger] === count);
    },
    { timeoutMs: 60_000 },
  );
}
