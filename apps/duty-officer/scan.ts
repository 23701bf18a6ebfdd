import { API, type InputOf, isAppError } from '#libs/contracts';
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

/** When the oldest job of a theater's queue was published, in ms; null: the queue is empty. */
export async function oldestJobMs(
  { broker, config }: Context,
  theaterId: string,
): Promise<number | null> {
  const subject = jobSubject(theaterId, config.workerClass);
  const query = { seq: 1, next_by_subj: subject };
  const message = await broker.jsm.streams.getMessage('JOBS', query);
  return message === null ? null : message.time.getTime();
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
