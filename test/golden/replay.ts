import type { StoredEvent } from '#libs/contracts';
import { evolveTheater, foldRun, orderCounts, type TheaterState, totalCost } from '#libs/orders';

/** What a golden log must fold into. What is then done about it is policy, and may change. */
export function replay(events: readonly StoredEvent[]): unknown {
  const agg = foldRun(events);
  const theater = events.reduce<TheaterState | undefined>(evolveTheater, undefined);
  return JSON.parse(
    JSON.stringify({
      run: agg.run,
      orders: [...agg.orders.values()],
      counts: orderCounts(agg),
      cost: totalCost(agg),
      theater,
    }),
  );
}

/** Reads a golden log: one stored event a line. */
export function parseLog(text: string): StoredEvent[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as StoredEvent);
}
