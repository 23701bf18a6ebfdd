import { type Broker, getObject, putObject } from '#libs/broker';
import { AppError, type InputRef, LIMITS, type OrderFile, type Playbook } from '#libs/contracts';
import type { OrderState, RunAggregate, RunState } from '#libs/orders';
import { fillPlaybook, inputPath, type Playbooks } from './playbooks.ts';

/** The user's text is an input file of this name; events only point to it. */
const MESSAGE_FILE = 'message.md';
/** Stands in a plan for the message, whose text belongs into files alone. */
export const MESSAGE_ELSEWHERE = `(the message is in ${MESSAGE_FILE})`;

/**
 * What the worktree of an order is prepared with: order.json, the user's files, and the playbook's,
 * all as pointers into the object store.
 */
export async function orderFiles(
  broker: Broker,
  { run }: RunAggregate,
  order: OrderState,
  playbooks: Playbooks,
): Promise<{ order: OrderFile; inputs: InputRef[] }> {
  const inputs = [...order.inputs];
  const book = playbooks.get(`${run?.playbook}@${run?.playbook_version}`);
  if (run !== undefined && book !== undefined) {
    inputs.push(...(await playbookFiles(broker, run, book)));
  }
  return { order: orderFile(run, order, inputs), inputs };
}

function orderFile(run: RunState | undefined, order: OrderState, inputs: InputRef[]): OrderFile {
  const { order_id, run_id, theater_id, type, objective, profile, prompt, outputs } = order;
  return {
    order_id,
    run_id,
    theater_id,
    type: type ?? 'draft',
    objective: objective ?? run?.objective ?? 'No objective was given',
    inputs: { files: inputs.map(({ name, sha256, bytes }) => ({ path: name, sha256, bytes })) },
    constraints: order.constraints ?? {
      budget_seconds: LIMITS.budgetSecondsDefault,
      max_retries: LIMITS.retriesDefault,
    },
    ...(profile !== null && { profile }),
    ...(prompt !== null && { prompt }),
    ...(outputs.length > 0 && { outputs: [...outputs] }),
  };
}

async function playbookFiles(broker: Broker, run: RunState, book: Playbook): Promise<InputRef[]> {
  const filled = fillPlaybook(
    book,
    {
      ...run.variables,
      objective: run.objective ?? '',
      run_id: run.run_id,
      message: await messageOf(broker, run),
    },
    run.inputs.map(({ name }) => name),
  );
  return Promise.all(
    filled.files.map(async ({ path, text }) => ({
      name: path,
      ...(await putObject(broker, new TextEncoder().encode(text))),
    })),
  );
}

/** The user's text; a run that was created without one has its objective as message. */
async function messageOf(broker: Broker, run: RunState): Promise<string> {
  const path = inputPath(run.run_id, MESSAGE_FILE);
  const ref = run.inputs.find(({ name }) => inputPath(run.run_id, name) === path);
  if (ref === undefined) return run.objective ?? '';
  const bytes = await getObject(broker, ref.sha256, { maxBytes: LIMITS.artifactBytes });
  if (bytes === null) throw new AppError('ARTIFACT_NOT_FOUND', { path: `input ${ref.sha256}` });
  return new TextDecoder().decode(bytes);
}
