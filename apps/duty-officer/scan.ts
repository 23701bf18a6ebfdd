import { API, type InputOf, isAppError, jobMessage } from '#libs/contracts';
import { jobSubject, ledgerTail } from '#libs/eventlog';
import type { OrderState, OrderStatus } from '#libs/orders';
import type { RoleContext } from '#libs/runtime';

type Context = Pick<RoleContext, 'broker' | 'client' | 'config' | 'logger'>;

const PAGE = 200;
/** Pages of one list in one patrol. */
const PAGES_MAX = 200;
const LIVE: readonly OrderStatus[] = ['CLAIMED', 'RUNNING', 'BLOCKED', 'QUEUED'];

/**
 * Orders that have not ended, as the ledger's views have them: candidates, to be judged by their
 * own events. With more than 40 000 at one status the older ones have to wait.
 */
export async function* liveOrders(context: Context): AsyncGenerator<OrderState> {
  const { client, logger, broker } = context;
  const at_least = await ledgerTail(broker);
  for (const status of LIVE) {
    let cursor: string | undefined;
    for (let pages = 0; pages < PAGES_MAX; pages += 1) {
      const input = { status, limit: PAGE, ...(cursor !== undefined && { cursor }) };
      const page = await orBehind(at_least, (wait) =>
        client.call(API.ledger.orders, { ...input, ...wait }),
      );
      yield* page.orders as unknown as OrderState[];
      if (page.next_cursor === null) break;
      cursor = page.next_cursor;
      if (pages + 1 === PAGES_MAX) logger.warn({ status }, 'not all orders were looked at');
    }
  }
}

type Wait = Pick<InputOf<typeof API.ledger.orders>, 'at_least'>;

/** Reads from views that are level with the stream, or as they are where they stay behind. */
async function orBehind<T>(at_least: number, read: (wait: Wait) => Promise<T>): Promise<T> {
  try {
    return await read({ at_least });
  } catch (error) {
    if (!isAppError(error, 'VIEW_BEHIND')) throw error;
    return read({});
  }
}

/** Theaters that are open. */
export async function openTheaters({ client }: Context): Promise<string[]> {
  const found: string[] = [];
  let cursor: string | undefined;
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const page = await client.call(API.ledger.theaters, {
      limit: PAGE,
      ...(cursor !== undefined && { cursor }),
    });
    for (const { theater_id, repo_path } of page.theaters) {
      if (typeof repo_path === 'string') found.push(theater_id);
    }
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  return found;
}

/** Jobs of one queue that are looked through. */
const JOBS_MAX = 2_000;

/** The jobs in a theater's queue, as `<order>/<attempt>`; null: too many to look through. */
export async function queuedJobs(
  { broker, config }: Context,
  theaterId: string,
): Promise<ReadonlySet<string> | null> {
  const next_by_subj = jobSubject(theaterId, config.workerClass);
  const found = new Set<string>();
  for (let seq = 1; found.size < JOBS_MAX; ) {
    const query = { seq, next_by_subj };
    const message = await broker.jsm.streams.getMessage('JOBS', query);
    if (message === null) return found;
    found.add(jobName(message.data) ?? `unreadable/${message.seq}`);
    seq = message.seq + 1;
  }
  return null;
}

function jobName(data: Uint8Array): string | undefined {
  try {
    const { order_id, attempt } = jobMessage.parse(JSON.parse(new TextDecoder().decode(data)));
    return `${order_id}/${attempt}`;
  } catch {
    return undefined; // a worker sets it aside
  }
}

/** Runs `work` on all items, `concurrency` at a time. */
export async function eachOf<T>(
  items: Iterable<T> | AsyncIterable<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  for await (const item of items) {
    const task = work(item).finally(() => running.delete(task));
    running.add(task);
    if (running.size >= concurrency) await Promise.race(running);
  }
  await Promise.all(running);
}
