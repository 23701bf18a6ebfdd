import type { StoredEvent } from '#libs/contracts';
import { isTerminal } from '#libs/orders';
import type { Evidence, Violation } from './evidence.ts';
import type { History } from './history.ts';

/** Every run and every order has ended, and a run that is complete has all that it promised. */
export function checkEnded({ objects }: Evidence, { runs, orders }: History): Violation[] {
  const found: Violation[] = [];
  for (const [run_id, run] of runs) {
    const tell = (message: string): void =>
      void found.push({ invariant: 'terminal', message: `run ${run_id} ${message}`, run_id });
    if (run.status === 'OPEN') tell('is still OPEN');
    if (run.status !== 'COMPLETE') continue;
    for (const orderId of run.order_ids) {
      const order = orders.get(orderId);
      if (order?.integration?.state === 'INTEGRATED') continue;
      if (order?.status === 'CANCELLED') continue;
      tell(`is COMPLETE although order ${orderId} is not on the mainline`);
    }
    if (run.reply !== null && !objects.has(run.reply.sha256)) tell('lost its reply');
    if (run.reply === null) tell('is COMPLETE without a reply');
  }
  for (const [order_id, { status, run_id }] of orders) {
    if (isTerminal(status)) continue;
    const message = `order ${order_id} is still ${status}`;
    found.push({ invariant: 'terminal', message, order_id, run_id });
  }
  return found;
}

/**
 * No attempt is done twice, none has two owners, and none is beyond the cap. Looks at the events as
 * they lie in the stream: a second completion is one even where the state tables would ignore it.
 */
export function checkOnce({ events }: Evidence, { orders, runs }: History): Violation[] {
  const byOrder = Map.groupBy(events, ({ order_id }) => order_id);
  const found: Violation[] = [];
  for (const [order_id, order] of orders) {
    const own = byOrder.get(order_id) ?? [];
    const tell = (invariant: string, message: string): void =>
      void found.push({ invariant, message: `order ${order_id} ${message}`, order_id });
    for (const message of repetitions(own)) tell('completed once', message);
    const granted = (runs.get(order.run_id ?? '')?.replans ?? []).filter(
      ({ blocked_order_id }) => blocked_order_id === order_id,
    ).length;
    const cap = 1 + (order.constraints?.max_retries ?? 0) + granted;
    if (order.created && order.attempt > cap) {
      tell('attempts', `is in attempt ${order.attempt}, its cap is ${cap}`);
    }
  }
  return found;
}

function repetitions(events: readonly StoredEvent[]): string[] {
  const found: string[] = [];
  const byAttempt = (type: StoredEvent['type']) =>
    Map.groupBy(
      events.filter((event) => event.type === type),
      ({ payload }) => String(payload.attempt),
    );
  for (const [attempt, completed] of byAttempt('ORDER_COMPLETED')) {
    if (completed.length > 1) found.push(`completed attempt ${attempt} ${completed.length} times`);
  }
  for (const [attempt, claims] of byAttempt('ORDER_CLAIMED')) {
    const units = new Set(claims.map(({ unit_id }) => unit_id));
    if (units.size > 1) found.push(`had ${units.size} owners in attempt ${attempt}`);
  }
  const promoted = events.filter(({ type }) => type === 'INTEGRATED');
  if (promoted.length > 1) found.push(`was INTEGRATED ${promoted.length} times`);
  const firstSeq = promoted[0]?.seq ?? Number.POSITIVE_INFINITY;
  if (events.some(({ type, seq }) => type === 'ORDER_REISSUED' && seq > firstSeq)) {
    found.push('was reissued after it was INTEGRATED');
  }
  return found;
}

/** Facts that a unit tells of itself without a condition: from an old attempt they are fenced. */
const TOLD = new Set([
  'UNIT_SIGNAL',
  'MODEL_CALL_STARTED',
  'MODEL_CALL_COMPLETED',
  'MODEL_CALL_FAILED',
  'TOOL_CALLED',
]);

/** Our own services move nothing that the state tables forbid. */
export function checkAnomalies({ anomalies }: History): Violation[] {
  return anomalies.flatMap(({ kind, detail, event }): Violation[] => {
    if (kind === 'fenced_attempt' && TOLD.has(event.type)) return [];
    const { order_id, run_id, seq } = event;
    return [{ invariant: 'anomalies', message: `${kind} at ${seq}: ${detail}`, order_id, run_id }];
  });
}

/** Nothing waits in a queue that nobody will take. */
export function checkQueues({ oracle, queues, dead }: Evidence): Violation[] {
  const waiting = Object.entries(queues).flatMap(([stream, count]): Violation[] =>
    count === 0 ? [] : [{ invariant: 'queues', message: `${stream} holds ${count} messages` }],
  );
  const forged = [...oracle.deliveries].flatMap(([key, sent]) => (sent.forged ? [`"${key}"`] : []));
  // Bytes that are no event, and forged milestones, were sent on purpose; everything else had to be
  // handled.
  const unexpected = dead.filter(({ channel, code, payload }) => {
    if (channel === 'intake') return code !== 'INVALID_JSON';
    const isForged = channel === 'milestones' && code === 'signature';
    return !isForged || !forged.some((key) => payload.includes(key));
  });
  return [
    ...waiting,
    ...unexpected.map(({ seq, channel, code, reason }) => ({
      invariant: 'dead letters',
      message: `${seq} in ${channel}: ${code} ${reason}`,
    })),
  ];
}
