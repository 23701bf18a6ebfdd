import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { API } from '#libs/contracts';
import { createClient } from '#libs/service';
import { testLogger } from '#libs/testing';
import { startSystem } from '../conformance/harness.ts';

// Issue B, 8: without a key the local planner plans, and bundled playbooks fan out, on real text.

const CALL = path.join(import.meta.dirname, '../../apps/cli/demo/call-transcript.md');

test('a model plans, and five orders read one call', async () => {
  await using system = await startSystem({
    roles: ['ledger', 'vault', 'observer', 'integration', 'co', 'gateway', 'worker'],
  });
  const client = createClient(system.broker, { logger: testLogger('client') });
  const text = await readFile(CALL, 'utf8');
  const chat = async (message: string, playbook: string, files: { name: string; text: string }[]) =>
    client.call(
      API.gateway.chat,
      { message, playbook, inputs: files, theater_hint: 'demo', wait_ms: 60_000 },
      { timeoutMs: 60_000 },
    );
  const call = [{ name: 'call.md', text }];
  const answers = await Promise.all([
    chat('Review what the customer needs', 'fan-out-summary', call),
    chat('What is open?', 'planned', call),
    chat('Which claims about the sea hold?', 'planned', [
      { name: 'notes.md', text: 'The tide was high at 06:40. Ana Ruiz measured 4.2 m.' },
    ]),
  ]);
  const types: string[][] = [];
  for (const answer of answers) {
    expect(answer).toMatchObject({ status: 'COMPLETE' });
    expect((answer as { reply: string }).reply.length).toBeGreaterThan(50);
    const { orders } = await client.call(API.ledger.orders, { run_id: answer.run_id, limit: 50 });
    types.push(orders.map((one) => one.type as string).toSorted((a, b) => (a < b ? -1 : 1)));
  }
  expect(types).toEqual([
    ['draft', 'research', 'research', 'research', 'research'],
    ['call_summary', 'plan'],
    ['draft', 'plan', 'research', 'verify'],
  ]);
  const [, summary] = answers as { reply: string }[];
  expect(summary?.reply).toContain('# Action Items');
}, 90_000);
