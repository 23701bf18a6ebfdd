import type { InputRef, OrderFile, Playbook } from '#libs/contracts';
import type { OrderState, RunAggregate } from '#libs/orders';
import { fillPlaybook } from './playbooks.ts';

/** What the worktree of an order is prepared with: order.json, the user's files, the playbook's files. */
export function orderFiles(
  { run }: RunAggregate,
  order: OrderState,
  playbooks: ReadonlyMap<string, Playbook>,
): { order: OrderFile; inputs: InputRef[]; files: { path: string; text: string }[] } {
  const { order_id, run_id, theater_id, type, objective, constraints, profile, prompt, outputs } =
    order;
  const inputs = [...order.inputs];
  const file: OrderFile = {
    order_id,
    run_id,
    theater_id,
    type: type ?? 'draft',
    objective: objective ?? run?.objective ?? 'No objective was given',
    inputs: { files: inputs.map(({ name, sha256, bytes }) => ({ path: name, sha256, bytes })) },
    constraints: constraints ?? { budget_seconds: 60, max_retries: 1 },
    ...(profile !== null && { profile }),
    ...(prompt !== null && { prompt }),
    ...(outputs.length > 0 && { outputs: [...outputs] }),
  };
  const book = run?.playbook == null ? undefined : playbooks.get(run.playbook);
  if (book === undefined || run === undefined) return { order: file, inputs, files: [] };
  const filled = fillPlaybook(book, {
    ...run.variables,
    objective: run.objective ?? '',
    run_id: run.run_id,
  });
  // The user's own file of the same name wins over the playbook's.
  const given = new Set(inputs.map(({ name }) => name));
  return { order: file, inputs, files: filled.files.filter(({ path }) => !given.has(path)) };
}
