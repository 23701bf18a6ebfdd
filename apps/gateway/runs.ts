import { getObject } from '#libs/broker';
import { API, type ObjectRef } from '#libs/contracts';
import type { RoleContext } from '#libs/runtime';

const REPLY_BYTES_MAX = 4 * 1024 * 1024;

/** GET /runs/{run_id}: the ledger's snapshot, a sentence about it, and the reply once there is one. */
export async function readRun(context: RoleContext, runId: string, atLeast?: number) {
  const run = await context.client.call(API.ledger.run, {
    run_id: runId,
    ...(atLeast !== undefined && { at_least: atLeast }),
  });
  const { reply: ref, artifacts } = run as unknown as {
    reply: ObjectRef | null;
    artifacts: { order_id: string; path: string; commit_sha: string }[];
  };
  const bytes =
    ref === null
      ? null
      : await getObject(context.broker, ref.sha256, { maxBytes: REPLY_BYTES_MAX });
  const reply = bytes === null ? null : new TextDecoder().decode(bytes);
  return { ...run, artifacts, reply, summary: summaryOf(run) };
}

type Summarised = {
  status: string;
  order_ids: readonly string[];
  reason?: unknown;
  ended_at: string | null;
};

function summaryOf(run: Summarised): string {
  const orders = `${run.order_ids.length} order${run.order_ids.length === 1 ? '' : 's'}`;
  const why = typeof run.reason === 'string' && run.reason !== '' ? `: ${run.reason}` : '';
  switch (run.status) {
    case 'COMPLETE':
      return `The run is complete; ${orders} done and promoted.`;
    case 'FAILED':
      return `The run failed${why}`;
    case 'CANCELLED':
      return `The run was cancelled${why}`;
    default:
      return `The run is open with ${orders}.`;
  }
}
