import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startReceiver, waitFor } from '#libs/testing';
import { expect, test } from 'vitest';
import { emitMany, ledgerOf, startLab, waitLedger } from './testdata/lab.ts';

const CHILD = join(import.meta.dirname, 'testdata', 'outbox-process.ts');
const EVENTS = 60;
const KILLS = 8;
const LONG_MS = 120_000;

test('C.76 killed at many points it loses nothing, and each event is taken once', {
  timeout: LONG_MS,
}, async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  const folder = await mkdtemp(join(tmpdir(), 'ironclaw-outbox-kill-'));
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const args = [CHILD, lab.testBroker.url, folder, receiver.url];
    child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (child.stdout === null) throw new Error('the outbox process has no output');
    await once(child.stdout, 'data');
  };
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  try {
    const queue = await lab.start({});
    const keys = await emitMany(queue, ['far'], 1, EVENTS);
    for (let round = 1; round <= KILLS; round += 1) {
      // It dies after so many requests: before, within and after the answer and its record.
      receiver.script(
        { kind: 'take' },
        round % 3 === 0 ? { kind: 'status', status: 503 } : { kind: 'take_then_hang_up' },
        round % 2 === 0 ? { kind: 'hang' } : { kind: 'take' },
      );
      const seen = receiver.requests().length;
      await start();
      const goal = seen + 1 + (round % 4);
      await waitFor(() => receiver.requests().length >= goal, { timeoutMs: LONG_MS });
      await kill();
    }
    await start();
    await waitFor(() => receiver.taken().length === EVENTS, { timeoutMs: LONG_MS });
    await waitLedger(queue, 'far', { pending: 0, retrying: 0 });
    const { delivered, duplicate, rejected, dead } = ledgerOf(queue, 'far');
    expect({ sum: delivered + duplicate, rejected, dead }).toEqual({
      sum: EVENTS,
      rejected: 0,
      dead: 0,
    });
    expect(receiver.taken().toSorted()).toEqual(keys.toSorted());
    // Whatever was sent again was the same bytes.
    const bodies = new Map<string, string>();
    for (const { key, body } of receiver.requests()) {
      expect(body).toBe(bodies.get(key) ?? body);
      bodies.set(key, body);
    }
  } finally {
    await kill();
    await rm(folder, { recursive: true, force: true });
  }
});
