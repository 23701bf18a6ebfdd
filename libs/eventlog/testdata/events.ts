import type { AnyEvent } from '#libs/contracts';

/** An event of order `o1` that differs by id and text alone. */
export function fact(event_id: string, text = 'a fact', at: Partial<AnyEvent> = {}): AnyEvent {
  return {
    event_id,
    ts: '2026-01-14T16:21:00Z',
    type: 'ORDER_BLOCKED',
    garrison_id: 'g',
    theater_id: 't',
    run_id: 'r',
    order_id: 'o1',
    unit_id: null,
    payload: { reason: text },
    ...at,
  } as AnyEvent;
}

/** `count` facts with ids `<prefix>-0`, `<prefix>-1`, … */
export function facts(prefix: string, count: number, at: Partial<AnyEvent> = {}): AnyEvent[] {
  return Array.from({ length: count }, (_, i) => fact(`${prefix}-${i}`, `fact ${i}`, at));
}
