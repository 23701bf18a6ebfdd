import type { Broker } from '#libs/broker';
import { ledgerTail } from '#libs/eventlog';
import { eventText, wholeBlocks } from '../events.ts';
import { publishRawBatch } from './raw.ts';

const BATCH = 1_000;

/**
 * Puts a history of at least `events` events into an empty ledger, as fast as the broker takes it.
 * @returns how many they are: all runs in it are complete
 */
export async function fillLedger(broker: Broker, events: number): Promise<number> {
  const count = wholeBlocks(events);
  for (let from = 0; from < count; from += BATCH) {
    const size = Math.min(BATCH, count - from);
    await publishRawBatch(broker.nc, `fill${from}`, size, (i) => eventText('h', from + i));
  }
  const tail = await ledgerTail(broker);
  if (tail !== count) throw new Error(`the ledger ends at ${tail}, not at ${count}`);
  return count;
}
