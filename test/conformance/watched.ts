import { lstatSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { waitFor } from '#libs/testing';
import { freshIds, git, type System } from './harness.ts';
import { aarOf, commit, type OpenWorktree, pathsBelow } from './theaters.ts';
import { type Data, ok, type Way } from './wire.ts';

export const MINUTE = 60_000;

export type OrderPlace = { theater_id: string; order_id: string };

export const ago = (ms: number): string => new Date(Date.now() - ms).toISOString();

export const signal = { type: 'UNIT_SIGNAL', payload: { attempt: 1, stage: 'calling_model' } };

export async function patrol(
  system: System,
  way: Way,
  { theater_id }: { theater_id: string },
): Promise<Data> {
  return ok(await system.call(way, 'observer.patrol', { theater_id }));
}

/** Tells the ledger of an order, as its unit would. */
export async function tellOf(
  system: System,
  { theater_id, order_id }: OrderPlace,
  events: readonly Data[],
): Promise<void> {
  const place = { theater_id, order_id, run_id: `run_${order_id}` };
  const full = events.map((event) => ({ ...place, ...event }));
  ok(await system.call('http', 'ledger.append-batch', { events: full }));
}

export async function eventsAbout(system: System, order_id: string, type: string): Promise<Data[]> {
  return (await system.eventsOf({ order_id })).filter((event) => event.type === type);
}

/** Waits until an observer has told this of an order by itself. */
export async function untilTold(system: System, order_id: string, type: string): Promise<void> {
  await waitFor(async () => (await eventsAbout(system, order_id, type)).length > 0);
}

/** An order at work since `ms` ago. */
export async function running(
  system: System,
  { theater_id }: { theater_id: string },
  ms: number,
  more: readonly Data[] = [],
): Promise<string> {
  const { order: order_id, unit: unit_id } = freshIds();
  const events = [
    { type: 'ORDER_CLAIMED', ts: ago(ms) },
    { type: 'ORDER_STARTED', ts: ago(ms), payload: { attempt: 1 } },
    ...more,
  ];
  await tellOf(
    system,
    { theater_id, order_id },
    events.map((event) => ({ unit_id, ...event })),
  );
  return order_id;
}

/** Commits a valid result, does what `then` does, and tells that the order is completed. */
export async function complete(
  system: System,
  worktree: OpenWorktree,
  files: Record<string, string>,
  then: () => Promise<unknown> = async () => undefined,
): Promise<void> {
  const { order_id, tree } = worktree;
  const artifacts = Object.keys(files);
  const commit_sha = await commit(tree, { ...files, 'aar.json': aarOf(order_id, artifacts) });
  await then();
  const unit_id = 'unit';
  await tellOf(system, worktree, [
    { type: 'ORDER_STARTED', unit_id, payload: { attempt: 1 } },
    ...artifacts.map((file) => ({ type: 'ARTIFACT_WRITTEN', unit_id, payload: { path: file } })),
    { type: 'AAR_WRITTEN', unit_id, payload: { path: 'aar.json', status: 'completed' } },
    { type: 'ORDER_COMPLETED', unit_id, payload: { attempt: 1, commit_sha } },
  ]);
}

/** Makes the newest commit of a branch look old. */
export async function backdate({ tree }: OpenWorktree, ms: number): Promise<void> {
  const person = `A <a@b> ${Math.floor((Date.now() - ms) / 1000)} +0000`;
  const files = await git(tree, 'rev-parse', 'HEAD^{tree}');
  const file = path.join(tree, '.old-commit');
  await writeFile(file, `tree ${files}\nauthor ${person}\ncommitter ${person}\n\nold\n`);
  const sha = await git(tree, 'hash-object', '-t', 'commit', '-w', file);
  await rm(file);
  await git(tree, 'reset', '--quiet', '--hard', sha);
}

/** Everything below a folder: names, kinds, modes, times and bytes. */
export async function bytesOf(folder: string): Promise<Record<string, string>> {
  const shown: Record<string, string> = {};
  for (const name of await pathsBelow(folder)) {
    const full = path.join(folder, name);
    const stat = lstatSync(full, { bigint: true });
    const { mode, size, mtimeNs, ctimeNs, ino } = stat;
    const bytes = stat.isFile() ? readFileSync(full).toString('base64') : '';
    shown[name] = [mode, size, mtimeNs, ctimeNs, ino, bytes].join(' ');
  }
  return shown;
}
