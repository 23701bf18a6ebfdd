import { basename } from 'node:path';
import type { OrderState } from '#libs/orders';
import type { TheaterFacts } from '../git-facts.ts';
import type { Evidence, Violation } from './evidence.ts';
import type { History } from './history.ts';

/** What the checker wants to know the digest of, as `<commit>:<path>`, by theater. */
export function artifactNames(orders: Iterable<OrderState>): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const { theater_id, integration, artifacts } of orders) {
    if (integration?.state !== 'INTEGRATED' || theater_id === null) continue;
    const known = names.get(theater_id) ?? [];
    known.push(...artifacts.map(({ path }) => `${integration.commit_sha}:${path}`));
    names.set(theater_id, known);
  }
  return names;
}

/** Everything told to be on the mainline is there, whole, once, and nothing else is. */
export function checkMainline(evidence: Evidence, { orders }: History): Violation[] {
  const found: Violation[] = [];
  for (const theater of evidence.theaters) {
    const { theaterId, promotions, fsck, dirty, leftovers } = theater;
    const inTheater = [...orders.values()].filter(({ theater_id }) => theater_id === theaterId);
    for (const order of inTheater) found.push(...checkOrder(theater, order, evidence));
    for (const { sha, orderId } of promotions) {
      if (orderId === null) continue;
      const told = orders.get(orderId)?.integration;
      if (told?.state === 'INTEGRATED' && told.commit_sha === sha) continue;
      const message = `${sha} promotes ${orderId} on ${theaterId}, which the ledger does not tell`;
      found.push({ invariant: 'integrated', message, order_id: orderId });
    }
    const tell = (message: string): void =>
      void found.push({ invariant: 'repository', message: `${theaterId}: ${message}` });
    for (const line of fsck) tell(`git fsck: ${line}`);
    for (const line of dirty) tell(`the checkout of the mainline is not clean: ${line}`);
    for (const name of leftovers) tell(`.git/${name} was left`);
  }
  return found;
}

function checkOrder(theater: TheaterFacts, order: OrderState, evidence: Evidence): Violation[] {
  const { order_id, integration, artifacts } = order;
  if (integration?.state !== 'INTEGRATED') return [];
  const found: Violation[] = [];
  const tell = (message: string): void =>
    void found.push({ invariant: 'integrated', message: `order ${order_id} ${message}`, order_id });
  const sha = integration.commit_sha ?? '';
  const made = theater.promotions.filter(({ orderId }) => orderId === order_id);
  if (!theater.onMainline.has(sha)) tell(`is INTEGRATED as ${sha}, which is not on the mainline`);
  if (made.length !== 1) tell(`has ${made.length} promotion commits`);
  if (made[0] !== undefined && made[0].parents[1] !== integration.head_sha) {
    tell(`was checked at ${integration.head_sha}, but ${made[0].parents[1]} was merged`);
  }
  for (const { path, sha256 } of artifacts) {
    const digest = evidence.digests.get(`${theater.theaterId}/${sha}:${path}`) ?? null;
    if (digest === null) tell(`lost its artifact ${path}`);
    else if (digest !== sha256) tell(`has another ${path} than it told of`);
  }
  return found;
}

/** No worktree is left of what has ended, but for those that were set aside to be looked at. */
export function checkWorktrees(evidence: Evidence, { orders }: History): Violation[] {
  const setAside = new Set(
    evidence.events.flatMap((event) =>
      event.type === 'WORKTREE_QUARANTINED' && event.order_id !== null ? [event.order_id] : [],
    ),
  );
  const found: Violation[] = [];
  for (const { theaterId, worktrees, folders } of evidence.theaters) {
    const tell = (message: string, order_id: string | null = null): void =>
      void found.push({ invariant: 'worktrees', message: `${theaterId}: ${message}`, order_id });
    for (const { path, locked, prunable } of worktrees) {
      const name = basename(path);
      const orderId = name.replace(/^order_/, '').replace(/\.\d+$/, '');
      if (prunable) tell(`${name} is registered, but its folder is gone`, orderId);
      if (locked && setAside.has(orderId)) continue;
      tell(`${name} was left`, orderId);
    }
    for (const name of folders) tell(`the folder ${name} was left`);
  }
  for (const { order_id, worktree } of orders.values()) {
    const state = worktree?.state;
    if (state === undefined || state === 'REMOVED' || state === 'QUARANTINED') continue;
    const message = `the worktree of order ${order_id} is ${state} for the ledger`;
    found.push({ invariant: 'worktrees', message, order_id });
  }
  return found;
}
