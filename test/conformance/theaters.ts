import { mkdir, readdir, realpath, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freshIds, git, type System } from './harness.ts';
import { type Data, ok } from './wire.ts';

export type OpenTheater = { theater_id: string; repo: string };

/** Opens a fresh theater; its repository lies at `<state>/theaters/<id>/repo`. */
export async function openTheater(system: System): Promise<OpenTheater> {
  const { theater: theater_id } = freshIds();
  const base = path.join(await realpath(system.stateDir), 'theaters');
  const repo_path = path.join(base, theater_id, 'repo');
  const data = ok(await system.call('http', 'vault.open-theater', { theater_id, repo_path }));
  return { theater_id, repo: data.repo_path };
}

export type OpenWorktree = OpenTheater & { order_id: string; tree: string; branch: string };

/** A worktree of a fresh order. */
export async function openWorktree(system: System, theater: OpenTheater): Promise<OpenWorktree> {
  const { order: order_id } = freshIds();
  const { theater_id } = theater;
  const made = ok(await system.call('http', 'vault.create-worktree', { theater_id, order_id }));
  return { ...theater, order_id, tree: made.worktree_path, branch: made.branch };
}

/** An order as the contract's order.json has it. */
export function orderOf({ order_id, theater_id }: OpenWorktree, more: Data = {}): Data {
  return {
    order_id,
    run_id: 'run_123',
    theater_id,
    type: 'draft',
    objective: 'Summarize the input into 5 bullets',
    inputs: { text: 'The relay failed at 06:40. Ana Ruiz will replace it by Friday.' },
    constraints: {
      budget_seconds: 60,
      max_retries: 1,
      tool_policy: { network: false, fs_allowlist: ['./'] },
    },
    profile: { name: 'executor_default', model: 'meta-llama/Llama-3.3-70B-Instruct' },
    ...more,
  };
}

/** An AAR as the contract's aar.json has it. */
export function aarOf(order_id: string, artifacts: readonly string[], more: Data = {}): Data {
  return {
    order_id,
    status: 'completed',
    completed_at: '2026-01-14T16:21:00Z',
    summary: 'What was done and results',
    artifacts: artifacts.map((file) => ({ path: file, type: 'text/plain' })),
    model: { provider: 'io.intelligence', name: 'meta-llama/Llama-3.3', temperature: 0.2 },
    notes: [],
    next_recommendations: [],
    ...more,
  };
}

/** Writes files into a worktree as a unit would; values that are no text become JSON. */
export async function write(tree: string, files: Record<string, unknown>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(tree, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
  }
}

/** Writes files and commits them with real git; answers the sha. */
export async function commit(tree: string, files: Record<string, unknown>): Promise<string> {
  await write(tree, files);
  await git(tree, 'add', '--all');
  await git(tree, 'commit', '--quiet', '--allow-empty', '-m', 'work by hand');
  return git(tree, 'rev-parse', 'HEAD');
}

/** All paths below a folder, so that anything new is seen. */
export async function pathsBelow(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}

/** Types of an order's events, in order. */
export async function typesOf(system: System, order_id: string): Promise<string[]> {
  return (await system.eventsOf({ order_id })).map(({ type }) => type as string);
}
