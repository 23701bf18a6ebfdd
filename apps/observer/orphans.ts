import { lstatSync, type Stats } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OrderState } from '#libs/orders';
import { listWorktrees, type Theater, type WorktreeInfo } from '#libs/worktrees';
import { isOver } from './clock.ts';
import { ageMs } from './findings.ts';

/** A folder among the worktrees that belongs to no order, or to one that ended long ago. */
export type Orphan = {
  reason: string;
  /** The order that ended; undefined: the ledger knows of none. */
  order?: OrderState;
  /** The folder, told apart from an earlier one of the same name. */
  folderId: string;
};

export type OrphanPorts = {
  /** The order as the watch knows it; undefined where it does not. */
  known(orderId: string): OrderState | undefined;
  /** The order as the ledger has it; `version` 0: nobody told of it. */
  load(orderId: string): Promise<OrderState>;
  /** True while the order's run may still need the worktree. */
  isRunOpen(order: OrderState): Promise<boolean>;
  now: () => number;
  orphanMs: number;
};

/** The vault makes a worktree a moment before it tells of it. */
const SETTLE_MS = 2_000;

/** What lies in the worktrees folder of a theater, and what of it nobody needs. Reads only. */
export async function findOrphans(
  theater: Theater,
  ports: OrphanPorts,
): Promise<{ worktrees: number; orphans: Orphan[] }> {
  const infos = (await listWorktrees(theater)).filter(({ exists }) => exists);
  const orphans: Orphan[] = [];
  for (const info of infos) {
    const orphan = await judgeFolder(info, ports);
    if (orphan !== undefined) orphans.push(orphan);
  }
  return { worktrees: infos.filter(({ registered }) => registered).length, orphans };
}

async function judgeFolder(info: WorktreeInfo, ports: OrphanPorts): Promise<Orphan | undefined> {
  const { worktreePath, orderId, registered } = info;
  const stat = lstatSync(worktreePath, { throwIfNoEntry: false });
  if (stat === undefined || stat.isFile()) return undefined;
  const name = basename(worktreePath);
  const folderId = `${name}/${stat.ino}`;
  if (orderId === undefined) {
    return { folderId, reason: `orphan: the folder ${name} is no worktree of an order` };
  }
  const order = ports.known(orderId) ?? (await loadSettled(orderId, registered, stat, ports));
  if (order.version === 0) {
    return { folderId, reason: `orphan: the ledger knows no order ${orderId}` };
  }
  if (!(await isAbandoned(order, ports))) return undefined;
  const ended = `order ${orderId} is ${order.status} since ${order.finished_at}`;
  return { folderId, order, reason: `orphan: ${ended}, its worktree is still there` };
}

async function loadSettled(
  orderId: string,
  registered: boolean,
  { birthtimeMs }: Stats,
  ports: OrphanPorts,
): Promise<OrderState> {
  const order = await ports.load(orderId);
  const leftMs = Math.min(SETTLE_MS, birthtimeMs + SETTLE_MS - ports.now());
  if (order.version > 0 || !registered || leftMs <= 0) return order;
  await sleep(leftMs);
  return ports.load(orderId);
}

async function isAbandoned(order: OrderState, ports: OrphanPorts): Promise<boolean> {
  const { finished_at, worktree } = order;
  if (!isOver(order) || finished_at === null) return false;
  if (worktree?.state === 'ARCHIVED' || worktree?.state === 'QUARANTINED') return false;
  return ageMs(finished_at, ports.now()) > ports.orphanMs && !(await ports.isRunOpen(order));
}
