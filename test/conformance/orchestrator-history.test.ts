import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startProxy, startTestBroker, type TestBroker, waitFor } from '#libs/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MISSION, missionRig, type Rig, THREE } from './orchestrator-rig.ts';

// History entries whose caller was given no outcome.

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker[Symbol.asyncDispose]());

const WORDS = ['append-history', '--wp', 'WP01', '--actor', 'al', '--note'] as const;
const note = (it: Rig, text: string) => it.api(...WORDS, text);
const entries = (it: Rig, text: string): number =>
  it.read(`${it.files}/tasks/WP01-part.md`).split(`al: ${text}\n`).length - 1;

describe('a history entry of which no outcome was given', () => {
  test('killed in its commit: the same call again adds none; after that each call adds one', async () => {
    await using it = missionRig({ NATS_URL: broker.url }, THREE);
    const [hook, busy] = [join(it.root, '.git/hooks/pre-commit'), join(it.root, '.git/busy')];
    writeFileSync(
      hook,
      `#!/bin/sh\ntouch '${busy}'\nwhile [ -e '${busy}' ]; do sleep 0.05; done\n`,
    );
    chmodSync(hook, 0o755);
    const [command, ...rest] = WORDS;
    const words = ['orchestrator-api', command, '--mission', MISSION, ...rest, 'one'];
    const { child, ended } = it.start(words);
    await waitFor(() => existsSync(busy), { timeoutMs: 60_000 });
    child.kill('SIGKILL');
    await ended;
    rmSync(hook);
    rmSync(busy);
    const again = await note(it, 'one');
    expect(again.code).toBe(0);
    expect(entries(it, 'one')).toBe(1);
    expect(it.git('log', '-1', '--format=%s')).toContain('history entry by al');
    const next = await note(it, 'one');
    expect(next.json.data.history_entry_id).not.toBe(again.json.data.history_entry_id);
    expect(entries(it, 'one')).toBe(2);
  });

  test('HOST_UNAVAILABLE while it was stored: the same call again finds it', async () => {
    await using proxy = await startProxy(broker.url);
    await using it = missionRig({ NATS_URL: proxy.url }, THREE);
    await note(it, 'zero');
    const swallowed = proxy.swallow('"stream":"MISSIONS"');
    const asking = note(it, 'one');
    await swallowed;
    const first = await asking;
    expect(first.json).toMatchObject({ ok: false, error_code: 'HOST_UNAVAILABLE' });
    proxy.cut();
    // Another call is another entry.
    expect((await note(it, 'two')).code).toBe(0);
    expect((await note(it, 'one')).code).toBe(0);
    expect([entries(it, 'one'), entries(it, 'two')]).toEqual([1, 1]);
  });
});
