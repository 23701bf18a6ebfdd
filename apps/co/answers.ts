import { nextForRun, type RunAggregate, type RunRules } from '#libs/orders';
import type { Playbooks } from './playbooks.ts';

/** Which orders of a run that was let go are on their way to the queue, and which wait. */
export function dispatchAnswer(run_id: string, agg: RunAggregate, rules: RunRules | undefined) {
  const step = nextForRun(agg, rules).find((one) => one.do === 'enqueue');
  const enqueued = step?.do === 'enqueue' ? step.orderIds : [];
  const waiting = [...agg.orders.values()]
    .filter(({ created, status, enqueued_at }) => created && status === 'QUEUED' && !enqueued_at)
    .map(({ order_id }) => order_id)
    .filter((id) => !enqueued.includes(id));
  return { run_id, enqueued, waiting };
}

/** Every version of every playbook, for people to choose from. */
export function playbookList(playbooks: Playbooks) {
  return [...playbooks.values()].map(({ name, version, description, steps, variables }) => ({
    name,
    version,
    description,
    variables: Object.keys(variables),
    steps: steps.map(({ key, type, depends_on }) => ({ key, type, depends_on })),
  }));
}
