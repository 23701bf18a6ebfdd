import { jobSubject } from '#libs/eventlog';
import { eventText } from '../events.ts';
import type { Lab } from '../lab.ts';
import { perSecond } from '../stats.ts';

/** One measured round: orders (or runs) a second, and ledger messages of each. */
export type Round = { rate: number; messages: number };

/** Orders under way at once: more than a worker takes, so that its queue is never empty. */
const LANES = 16;
const WIDTH = 256;

/** Does `work` for each item, LANES at once. */
export async function inLanes<T>(
  items: readonly T[],
  work: (item: T) => Promise<unknown>,
  lanes = LANES,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next] as T;
      next += 1;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/**
 * How many orders a second the broker could carry if there was nothing but their messages: as many
 * ledger messages and one job each, published with nobody to read them, to a broker of its own.
 */
export async function openLimit(lab: Lab) {
  const server = await lab.broker();
  const { js } = await server.connect();
  let round = 0;
  return async (orders: number, messages: number): Promise<number> => {
    round += 1;
    const tag = `limit${round}`;
    const startedAt = performance.now();
    const indexes = Array.from({ length: Math.round(orders * messages) }, (_, index) => index);
    const facts = inLanes(
      indexes,
      (index) => {
        const { subject, text, eventId } = eventText(tag, index);
        return js.publish(subject, text, { msgID: eventId });
      },
      WIDTH,
    );
    const jobs = inLanes(indexes.slice(0, orders), (index) =>
      js.publish(jobSubject('limit', 'none'), '{"a":"job"}', { msgID: `${tag}:${index}` }),
    );
    await Promise.all([facts, jobs]);
    return perSecond(orders, performance.now() - startedAt);
  };
}
