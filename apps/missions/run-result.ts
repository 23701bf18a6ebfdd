import { API } from '#libs/contracts';
import type { RoleContext } from '#libs/runtime';

/** What a run has brought to its branch. */
export type Result = {
  /** Orders whose commits are on it. */
  integrated: string[];
  files: { path: string; text: string }[];
};

const ORDERS_MAX = 1_000;
const FILES_MAX = 32;

/** Reads what the orders of an ended run wrote, as it was integrated. */
export async function resultOf(
  { client }: RoleContext,
  { run_id, theater_id }: { run_id: string; theater_id: string | null },
): Promise<Result> {
  const { orders } = await client.call(API.ledger.orders, { run_id, limit: String(ORDERS_MAX) });
  const result: Result = { integrated: [], files: [] };
  // They are listed newest first.
  for (const order of orders.toReversed()) {
    const { state, commit_sha } = (order.integration ?? {}) as Partial<Record<string, string>>;
    if (state !== 'INTEGRATED' || commit_sha === undefined || theater_id === null) continue;
    result.integrated.push(order.order_id);
    for (const { path } of order.artifacts.slice(0, FILES_MAX - result.files.length)) {
      const file = await client.call(API.vault.readFile, { theater_id, path, commit_sha });
      result.files.push({ path, text: file.text });
    }
  }
  return result;
}
