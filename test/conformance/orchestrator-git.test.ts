import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MISSION, missionRig, P, type Rig, THREE } from './orchestrator-rig.ts';

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker[Symbol.asyncDispose]());

const IDS = Object.keys(THREE);
const rig = (): Rig => missionRig({ NATS_URL: broker.url }, THREE);
const note = (it: Rig, text: string, wp = 'WP01') =>
  it.api('append-history', '--wp', wp, '--actor', 'al', '--note', text);
const taskFile = (it: Rig) => `${it.files}/tasks/WP01-part.md`;
/** On the index side of `git status`. */
const staged = (it: Rig) => it.git('diff', '--cached', '--name-only').trim();

describe('history', () => {
  test('D.35 stored byte for byte, committed alone; what is staged stays staged', async () => {
    await using it = rig();
    it.write('mine.txt', 'mine\n');
    it.git('add', 'mine.txt');
    const before = it.read(taskFile(it));
    const text = 'quotes " \' unicode ✓ $(touch x) `touch y`';
    const { code, json } = await note(it, text);
    expect(code).toBe(0);
    expect(json.data.history_entry_id).toMatch(/^hist-[0-9a-f]{32}$/);
    const after = it.read(taskFile(it));
    expect(after.startsWith(before)).toBe(true);
    expect(after).toContain(`] al: ${text}\n`);
    expect(it.git('show', `HEAD:${taskFile(it)}`)).toBe(after);
    expect(it.git('show', '--name-only', '--format=', 'HEAD').trim()).toBe(taskFile(it));
    expect(staged(it)).toBe('mine.txt');
    expect(existsSync(join(it.root, 'x')) || existsSync(join(it.root, 'y'))).toBe(false);
  });

  test('D.35 a hook that fails: HISTORY_COMMIT_FAILED, the file restored, no entry', async () => {
    await using it = rig();
    await note(it, 'one');
    const hook = join(it.root, '.git', 'hooks', 'pre-commit');
    writeFileSync(hook, '#!/bin/sh\nexit 1\n');
    chmodSync(hook, 0o755);
    const [before, head] = [it.read(taskFile(it)), it.git('rev-parse', 'HEAD')];
    const failed = await note(it, 'two');
    expect(`${failed.code} ${String(failed.json.error_code)}`).toBe('1 HISTORY_COMMIT_FAILED');
    expect(it.read(taskFile(it))).toBe(before);
    expect(it.git('rev-parse', 'HEAD')).toBe(head);
    writeFileSync(hook, '#!/bin/sh\nexit 0\n');
    expect((await note(it, 'three')).code).toBe(0);
    const after = it.read(taskFile(it));
    expect(after).toContain('al: one\n');
    expect(after).toContain('al: three\n');
    expect(after).not.toContain('two');
  });

  test('main is protected, unless its owner says otherwise', async () => {
    await using it = rig();
    it.git('checkout', '-q', 'main');
    const before = it.read(taskFile(it));
    const { json } = await note(it, 'n');
    expect(json.error_code).toBe('SAFE_COMMIT_PROTECTED_BRANCH');
    expect(json.data).toMatchObject({ destination_ref: 'main' });
    expect(it.read(taskFile(it))).toBe(before);
    const env = { SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS: '1' };
    const words = ['append-history', '--mission', MISSION, '--wp', 'WP01', '--actor', 'al'];
    const allowed = await it.spawned(['orchestrator-api', ...words, '--note', 'n'], { env });
    expect(allowed.code).toBe(0);
  });

  test('D.40 six histories at once: all are there, each in a commit of its own', async () => {
    await using it = rig();
    const count = Number(it.git('rev-list', '--count', 'HEAD'));
    const notes = [1, 2, 3, 4, 5, 6].map((n) => `note ${n}`);
    const words = ['append-history', '--mission', MISSION, '--wp', 'WP01', '--actor', 'al'];
    const answers = await Promise.all(
      notes.map((text) => it.spawned(['orchestrator-api', ...words, '--note', text])),
    );
    expect(answers.map(({ code }) => code)).toEqual(notes.map(() => 0));
    const text = it.read(taskFile(it));
    for (const one of notes) expect(text.split(`al: ${one}\n`)).toHaveLength(2);
    expect(text.startsWith('---\nwork_package_id: WP01\n')).toBe(true);
    expect(Number(it.git('rev-list', '--count', 'HEAD'))).toBe(count + notes.length);
    expect(it.git('status', '--porcelain')).toBe('');
  });
});

/** Starts each work package, commits `files` in its workspace and approves it. */
async function approveAll(it: Rig, files: (wp: string) => Record<string, string>): Promise<void> {
  for (const wp of IDS) {
    const claim = ['--wp', wp, '--actor', 'al', '--policy', P];
    const { json } = await it.api('start-implementation', ...claim);
    const path = json.data.workspace_path as string;
    expect(it.git('-C', path, 'branch', '--show-current').trim()).toBe(json.data.lane_branch);
    for (const [name, text] of Object.entries(files(wp))) writeFileSync(join(path, name), text);
    it.git('-C', path, 'add', '-A');
    it.git('-C', path, 'commit', '-qm', `${wp} done`);
    const review = { reviewer: 'rev', verdict: 'approved', reference: `r/${wp}` };
    const evidence = ['--evidence-json', JSON.stringify({ review })];
    const moved = await it.api('transition', ...claim, '--to', 'approved', ...evidence);
    expect(moved.code).toBe(0);
  }
}

test('an accepted mission that changed workflows shows a run of them', async () => {
  await using it = rig();
  it.write('.github/workflows/ci.yml', 'on: push\n');
  it.git('add', '-A');
  it.git('commit', '-qm', 'a workflow');
  for (const wp of IDS) {
    const words = ['--wp', wp, '--actor', 'al', '--to', 'done', '--force', '--note', 'n'];
    await it.api('transition', ...words);
  }
  const path = `${it.files}/workflow-evidence.md`;
  const owed = await it.api('accept-mission', '--actor', 'al');
  expect(owed.json.error_code).toBe('WORKFLOW_EVIDENCE_REQUIRED');
  expect(owed.json.data.required_evidence_path).toBe(path);
  it.write(path, 'run id 123456\n');
  expect((await it.api('accept-mission', '--actor', 'al')).code).toBe(0);
});

describe('merges', () => {
  test.each(['merge', 'squash', 'rebase'])('D.39 %s: all files on the target', async (strategy) => {
    await using it = rig();
    const head = it.git('rev-parse', 'HEAD');
    await approveAll(it, (wp) => ({ [`${wp}.txt`]: `${wp}\n` }));
    const words = ['merge-mission', '--mission', MISSION, '--strategy', strategy];
    const merged = await it.spawned(['orchestrator-api', ...words]);
    expect(merged.json).toMatchObject({
      ok: true,
      data: {
        merged: true,
        target_branch: 'main',
        strategy,
        merged_wps: IDS,
        worktree_removed: true,
      },
    });
    const names = it.git('ls-tree', '--name-only', 'main').split('\n');
    for (const wp of IDS) expect(names).toContain(`${wp}.txt`);
    expect(new Set(Object.values(await it.lanes()))).toEqual(new Set(['done']));
    expect(it.git('branch', '--list', 'kitty/*')).toBe('');
    expect(it.git('rev-parse', 'HEAD')).toBe(head);
    const again = await it.api('merge-mission', '--strategy', strategy);
    expect(again.json.data).toMatchObject({ merged: true, merged_wps: IDS });
  });

  test('D.39 a conflict: PREFLIGHT_FAILED, the target where it was', async () => {
    await using it = rig();
    await approveAll(it, (wp) => ({ 'same.txt': `${wp}\n` }));
    const before = it.git('rev-parse', 'main');
    const { json, code } = await it.api('merge-mission', '--target', 'main');
    expect(`${code} ${String(json.error_code)}`).toBe('1 PREFLIGHT_FAILED');
    expect(JSON.stringify(json.data.errors)).toContain('same.txt');
    expect(it.git('rev-parse', 'main')).toBe(before);
    expect(new Set(Object.values(await it.lanes()))).toEqual(new Set(['approved']));
  });

  test('a lanes.json that nobody can read stops what needs it, and nothing else', async () => {
    await using it = rig();
    it.write(`${it.files}/lanes.json`, '{');
    expect(await it.lanes()).toMatchObject({ WP01: 'planned' });
    const claim = ['--wp', 'WP01', '--actor', 'al', '--policy', P];
    const { json } = await it.api('start-implementation', ...claim);
    expect(json.error_code).toBe('LANE_ALLOCATION_FAILED');
    expect(json.data.message).toContain('lanes.json');
    it.git('clean', '-q', '-f', `${it.files}/lanes.json`);
    const again = await it.api('start-implementation', ...claim);
    expect(again.json.data).toMatchObject({ no_op: true });
    expect(existsSync(again.json.data.workspace_path as string)).toBe(true);
    // Agents call from their workspace: the mission is that of the main checkout.
    const words = ['orchestrator-api', 'resolve-workspace', '--mission', MISSION, '--wp', 'WP01'];
    const resolved = await it.spawned(words, { cwd: again.json.data.workspace_path as string });
    expect(resolved.json.data).toMatchObject({
      wp_id: 'WP01',
      workspace_path: again.json.data.workspace_path,
      prompt_path: again.json.data.prompt_path,
    });
  });
});
