import { getObject } from '#libs/broker';
import { API, AppError, checkJson, type InputOf, invalid, LIMITS, parse } from '#libs/contracts';
import type { RoleContext } from '#libs/runtime';
import type { FileInput } from '#libs/worktrees';

type PrepareInput = InputOf<typeof API.vault.prepareWorktree>;

/** Written for people and programs beside the work; git never sees it. */
export const NOT_IN_GIT = ['state.json', 'inputs', 'context'];

/**
 * The files that a worktree is prepared with. order.json is what the caller gave, to the letter.
 * @throws {INVALID_REQUEST} the order names another order_id than the path · {ARTIFACT_NOT_FOUND}
 */
export async function preparedFiles(
  context: RoleContext,
  raw: unknown,
): Promise<{ input: PrepareInput; files: FileInput[] }> {
  // order.json is written as it came, so what JSON cannot keep is refused before it is parsed.
  checkJson(raw, 'body');
  const input = parse(API.vault.prepareWorktree.input, raw);
  const { order, order_id } = input;
  if (order.order_id !== order_id) {
    throw invalid('order.order_id', `is ${order.order_id}, but the path names ${order_id}`);
  }
  const given = (raw as { order: unknown }).order;
  const files: FileInput[] = [
    { path: 'order.json', text: `${JSON.stringify(given, null, 2)}\n` },
    { path: 'task.md', text: taskText(input) },
    { path: 'state.json', text: stateText(context, order_id) },
    ...(input.files ?? []),
  ];
  for (const { name, sha256 } of input.inputs ?? []) {
    const bytes = await getObject(context.broker, sha256, { maxBytes: LIMITS.artifactBytes });
    if (bytes === null)
      throw new AppError('ARTIFACT_NOT_FOUND', { path: `input ${name}` }, { field: 'inputs' });
    files.push({ path: name, bytes });
  }
  return { input, files };
}

function taskText({ order, inputs = [] }: PrepareInput): string {
  const files = inputs.map(({ name }) => `* ${name}`).join('\n');
  return [
    `# Order ${order.order_id}`,
    '',
    `Type: ${order.type}`,
    '',
    '## Objective',
    '',
    order.objective,
    ...(files === '' ? [] : ['', '## Inputs', '', files]),
    '',
  ].join('\n');
}

function stateText(context: RoleContext, orderId: string): string {
  const updated_at = context.log.defaults.now().toISOString();
  return `${JSON.stringify({ order_id: orderId, status: 'QUEUED', updated_at }, null, 2)}\n`;
}
