import { isAppError, type Severity } from '#libs/contracts';
import { type AggregateStore, createAggregateStore } from '#libs/eventlog';
import { type EscalationBook, evolveEscalations, evolveRun, type RunState } from '#libs/orders';
import type { Projection } from '#libs/projections';
import { createOrderCommands, type OrderCommands, type RoleContext } from '#libs/runtime';
import { type Finding, severityOf } from './findings.ts';

/** What looking at orders and worktrees stands on. */
export type Watch = {
  context: RoleContext;
  clocks: Projection;
  orders: OrderCommands;
  runs: AggregateStore<RunState | undefined>;
  books: AggregateStore<EscalationBook>;
  /** Theaters that this host was found not to reach. */
  unreachable: Set<string>;
  now: () => number;
};

export function createWatch(context: RoleContext, clocks: Projection): Watch {
  const { log } = context;
  return {
    context,
    clocks,
    orders: createOrderCommands(log),
    runs: createAggregateStore<RunState | undefined>(log.broker, undefined, (run, events) =>
      events.reduce(evolveRun, run),
    ),
    books: createAggregateStore<EscalationBook>(log.broker, new Map(), evolveEscalations),
    unreachable: new Set(),
    now: () => log.defaults.now().getTime(),
  };
}

/** One thing found wrong, as the endpoint tells it. */
export type Told = {
  kind: string;
  order_id: string | null;
  reason: string;
  severity: Severity;
  /** True: it was told before; nothing was emitted now. */
  known: boolean;
};

/** A finding, and whether events were written about it now. */
export function told(orderId: string | null, finding: Finding, wrote: boolean): Told {
  return { ...finding, order_id: orderId, severity: severityOf(finding.kind), known: !wrote };
}

/** What goes wrong with one thing must not keep the others from being looked at. */
export async function collect(
  { context: { logger } }: Watch,
  findings: Told[],
  about: Record<string, unknown>,
  look: () => Promise<Told | undefined>,
): Promise<void> {
  try {
    const finding = await look();
    if (finding !== undefined) findings.push(finding);
  } catch (error) {
    if (isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
    logger.error({ err: error, ...about }, 'could not be judged; the next patrol looks again');
  }
}
