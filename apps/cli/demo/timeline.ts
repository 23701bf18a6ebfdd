import { API, type StoredEvent } from '#libs/contracts';
import type { Client } from '../client.ts';
import { RUN_ENDED } from '../commands/chat.ts';

/** What a run told of itself, for the checks at the end. */
export type Told = {
  /** Undefined: it was given up before the run had ended. */
  ended: StoredEvent | undefined;
  /** SHA-256 of each artifact, by path; of the newest attempt that wrote it. */
  digests: ReadonlyMap<string, string>;
  attempts: number;
  /** Sequence of the last event that was shown. */
  lastSeq: number;
};

export type Watch = {
  client: Client;
  runId: string;
  signal: AbortSignal;
  /** Called for every event of the ledger, in its sequence. */
  show: (event: StoredEvent) => void;
  /** Called once, in the middle of an order: its model is at work. */
  inTheMiddle: (event: StoredEvent) => void;
};

const SETTLE_MS = 3_000;

/** Follows the whole ledger until the run has ended and its worktrees are put away. */
export async function watchRun(watch: Watch): Promise<Told> {
  const { client, runId, show, inTheMiddle } = watch;
  const digests = new Map<string, string>();
  const open = new Set<string>();
  let ended: StoredEvent | undefined;
  let attempts = 0;
  let lastSeq = 0;
  let middle = false;
  const settled = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const signal = AbortSignal.any([watch.signal, settled.signal]);
  for await (const event of client.follow(API.gateway.stream, { from_seq: 1 }, signal)) {
    show(event);
    lastSeq = event.seq;
    if (event.run_id !== runId) continue;
    switch (event.type) {
      case 'ORDER_STARTED':
        attempts = Math.max(attempts, event.payload.attempt ?? 1);
        break;
      case 'MODEL_CALL_STARTED':
        if (!middle) inTheMiddle(event);
        middle = true;
        break;
      case 'ARTIFACT_WRITTEN':
        if (event.payload.path && event.payload.sha256)
          digests.set(event.payload.path, event.payload.sha256);
        break;
      case 'WORKTREE_CREATED':
        open.add(event.order_id ?? '');
        break;
      case 'WORKTREE_REMOVED':
        open.delete(event.order_id ?? '');
        break;
      default:
        if (RUN_ENDED.includes(event.type)) ended = event;
    }
    if (ended !== undefined) {
      if (open.size === 0) break;
      // Putting away comes after the reply; a demo does not wait for it for ever.
      timer ??= setTimeout(() => settled.abort(), SETTLE_MS);
    }
  }
  clearTimeout(timer);
  return { ended, digests, attempts, lastSeq };
}

/** The number of events in the ledger, counted page by page. */
export async function countEvents(client: Client, atLeast: number): Promise<number> {
  let count = 0;
  let cursor: string | undefined;
  do {
    const page = await client.call(API.gateway.events, {
      order: 'asc',
      limit: 1_000,
      at_least: atLeast,
      ...(cursor !== undefined && { cursor }),
    });
    count += page.events.length;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
  return count;
}
