import { existsSync } from 'node:fs';
import { ledgerSubject } from '#libs/eventlog';
import { type OrderState, theaterEscalation } from '#libs/orders';
import { command, type OrderPlace } from '#libs/runtime';
import type { Theater } from '#libs/worktrees';
import { findClock, liveClocks } from './clocks-view.ts';
import { awaitsVerdict, type Finding, isTold, ROUTE, severityOf, tell } from './findings.ts';
import { judgeCompleted, judgeOrder } from './judge.ts';
import { findOrphans, type Orphan } from './orphans.ts';
import { collect, type Told, told, type Watch } from './watch.ts';

export type Patrolled = {
  theater_id: string;
  /** Live orders looked at. */
  orders: number;
  /** Worktrees that git knows and that are there. */
  worktrees: number;
  /** At most 1 000. */
  findings: Told[];
};

const CATCH_UP_MS = 5_000;
const FINDINGS_MAX = 1_000;

/**
 * Looks at every live order and worktree of a theater once, and tells what is wrong. May be
 * repeated, by any number of observers at once: each cause is told once.
 * @throws {THEATER_NOT_FOUND} · {VIEW_BEHIND} the clocks are not level with the ledger
 */
export async function patrolTheater(watch: Watch, theaterId: string): Promise<Patrolled> {
  const theater = await watch.context.theaters.get(theaterId);
  await watch.clocks.catchUp({ timeoutMs: CATCH_UP_MS });
  const clocks = watch.clocks.read((reader) => liveClocks(reader, theaterId));
  const here = isHere(watch, theater) ? theater : undefined;
  const findings: Told[] = here === undefined ? [tellUnreachable(watch, theater)] : [];
  for (const clock of clocks) {
    const about = { theater_id: theaterId, order_id: clock.order.order_id };
    await collect(watch, findings, about, () => judgeOrder(watch, clock, here));
  }
  const worktrees = here === undefined ? 0 : await sweep(watch, here, findings);
  return {
    theater_id: theaterId,
    orders: clocks.length,
    worktrees,
    findings: findings.slice(0, FINDINGS_MAX),
  };
}

/**
 * Judges one order that has completed.
 * @returns `elsewhere`: its worktree is not on this host
 */
export async function patrolCompleted(
  watch: Watch,
  place: OrderPlace,
  minSeq: number,
): Promise<'done' | 'elsewhere'> {
  const order = await watch.orders.load(place, minSeq);
  if (!awaitsVerdict(order)) return 'done';
  const theater = await watch.context.theaters.find(place.theater_id);
  if (theater === undefined) return 'done';
  if (!isHere(watch, theater)) return 'elsewhere';
  await judgeCompleted(watch, theater, order);
  return 'done';
}

function isHere({ unreachable }: Watch, { theaterId, gitDir, worktreesPath }: Theater): boolean {
  const here = existsSync(gitDir) && existsSync(worktreesPath);
  if (here) unreachable.delete(theaterId);
  return here;
}

/** Said once in the log, and no event: other observers may well reach it. */
function tellUnreachable(
  { context, unreachable }: Watch,
  { theaterId, worktreesPath }: Theater,
): Told {
  const known = unreachable.has(theaterId);
  const reason = `unreachable: ${worktreesPath} or its repository is not on this host`;
  if (!known) context.logger.warn({ theater_id: theaterId }, reason);
  unreachable.add(theaterId);
  return { kind: 'unreachable', order_id: null, reason, severity: 'LOW', known };
}

/** Looks for orphans. @returns how many worktrees there are */
async function sweep(watch: Watch, theater: Theater, findings: Told[]): Promise<number> {
  const { context, clocks, orders, now } = watch;
  const { theaterId: theater_id } = theater;
  const { worktrees, orphans } = await findOrphans(theater, {
    known: (orderId) => clocks.read((reader) => findClock(reader, theater_id, orderId)?.order),
    load: (order_id) => orders.load({ theater_id, order_id }),
    isRunOpen: (order) => isRunOpen(watch, order),
    now,
    orphanMs: context.config.watch.orphanMs,
  });
  for (const orphan of orphans) {
    const about = { theater_id, folder: orphan.folderId };
    await collect(watch, findings, about, () => tellOrphan(watch, theater_id, orphan));
  }
  return worktrees;
}

async function isRunOpen({ context, runs }: Watch, order: OrderState): Promise<boolean> {
  const { theater_id, run_id } = order;
  if (run_id === null) return false;
  const { garrisonId: garrison_id } = context.config;
  const { state } = await runs.load(ledgerSubject({ garrison_id, theater_id, run_id }));
  return state?.created === true && state.status === 'OPEN';
}

async function tellOrphan(
  { context, orders, books }: Watch,
  theaterId: string,
  { reason, order, folderId }: Orphan,
): Promise<Told> {
  const finding: Finding = { kind: 'orphan', reason };
  if (order !== undefined) {
    const { order_id } = order;
    if (isTold(order, 'orphan')) return told(order_id, finding, false);
    const place = { theater_id: theaterId, order_id };
    const { wrote } = await orders.decide(place, (at) => tell(at, finding));
    return told(order_id, finding, wrote);
  }
  const { garrisonId } = context.config;
  const raised = {
    garrisonId,
    theaterId,
    severity: severityOf('orphan'),
    route: ROUTE,
    reason,
    cause: `observer/orphan/${folderId}`,
  };
  const subject = ledgerSubject({ garrison_id: garrisonId, theater_id: theaterId });
  const { drafts } = await command(context.log, books, subject, ({ state }) =>
    theaterEscalation(state, raised),
  );
  return told(null, finding, drafts.length > 0);
}
