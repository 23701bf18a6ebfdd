import { setTimeout as sleep } from 'node:timers/promises';
import { API } from '#libs/contracts';
import type { CallData } from '#libs/service';
import type { Client } from '../client.ts';
import { clip, printable } from '../format.ts';

type Arrived = CallData<typeof API.intake.milestones>['milestones'][number];

const WAIT_MS = 20_000;
const POLL_MS = 200;
const PAGE_ITEMS = 50;
const CLAIM_CHARS = 90;

/**
 * The milestones of a run as they lie in the feed, oldest first: made of its events, signed, queued,
 * delivered and verified. Waits a while for the last one, `run.<end>.<run_id>`.
 * @returns what arrived, and whether the end was among it
 */
export async function milestonesOf(
  client: Client,
  runId: string,
  signal: AbortSignal,
): Promise<{ lines: string[]; complete: boolean }> {
  const deadline = performance.now() + WAIT_MS;
  const isEnd = ({ item }: Arrived): boolean =>
    /^run\.(completed|failed|cancelled)\./.test(item.milestoneId);
  for (;;) {
    const page = await client.call(API.intake.milestones, { limit: PAGE_ITEMS, text: runId });
    const own = page.milestones;
    const complete = own.some(isEnd);
    if (complete || signal.aborted || performance.now() > deadline) {
      const inOrder = own.toSorted((a, b) => a.receipt.seq - b.receipt.seq);
      return { lines: inOrder.map(lineOf), complete };
    }
    // Aborting is how the pause is cut short, not a failure.
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

function lineOf({ item, receipt }: Arrived): string {
  const seq = String(receipt.seq).padStart(5);
  const evidence = item.evidence.map(({ type }) => type).join(',');
  const claim = clip(printable(item.claim), CLAIM_CHARS);
  return `${seq}  ${item.riskStatus.padEnd(9)}  ${claim}  [${evidence}]`;
}
