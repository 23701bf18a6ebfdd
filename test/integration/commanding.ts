import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { API, type Role } from '#libs/contracts';
import { createClient, type ServiceClient } from '#libs/service';
import { testLogger, waitFor } from '#libs/testing';
import { freshIds, startSystem, type System } from '../conformance/harness.ts';
import * as units from '../conformance/unit.ts';
import type { Data } from '../conformance/wire.ts';

const CONTROL: readonly Role[] = ['ledger', 'vault', 'observer', 'integration', 'gateway'];

/** A system whose orders are done by hand, with playbooks of the test's own. */
export type Commanding = {
  readonly system: System;
  readonly client: ServiceClient;
  /** Starts a run that goes by itself; answers its id. */
  run(input?: Data): Promise<string>;
  runView(run_id: string): Promise<Data>;
  /** Waits until the order of a step exists and stands as wanted. */
  order(run_id: string, step: string, wanted?: (order: Data) => boolean): Promise<Data>;
  /** Does the order of a step once it is on the queue, in this attempt. */
  work(run_id: string, step: string, text?: string, attempt?: number): Promise<void>;
  /** Reports that the unit of a step is blocked. */
  block(run_id: string, step: string, reason: string, attempt?: number): Promise<void>;
  /** Reports that the unit of a step has failed. */
  fail(run_id: string, step: string, attempt?: number): Promise<void>;
  end(run_id: string): Promise<Data>;
  types(run_id: string): Promise<string[]>;
  /** The one escalation of a run that asks for a decision and has none. */
  question(run_id: string): Promise<Data>;
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startCommanding(options: {
  playbooks?: readonly Data[];
  env?: Record<string, string>;
  /** The commanding officer in a process of its own, to be killed. */
  apart?: boolean;
}): Promise<Commanding> {
  const dir = await mkdtemp(path.join(tmpdir(), 'ironclaw-playbooks-'));
  const gone = () => rm(dir, { recursive: true, force: true });
  try {
    for (const [index, book] of (options.playbooks ?? []).entries()) {
      await writeFile(path.join(dir, `${index}.json`), JSON.stringify(book));
    }
    const system = await startSystem({
      roles: options.apart ? CONTROL : [...CONTROL, 'co'],
      ...(options.apart && { separateProcesses: ['co'] }),
      env: { IRONCLAW_PLAYBOOKS: dir, ...options.env },
    });
    return commanding(system, async () => {
      await system[Symbol.asyncDispose]();
      await gone();
    });
  } catch (error) {
    await gone();
    throw error;
  }
}

function commanding(system: System, dispose: () => Promise<void>): Commanding {
  const client = createClient(system.broker, { logger: testLogger('client') });
  const runView = (run_id: string) => units.runView(system, run_id);

  const order = async (
    run_id: string,
    step: string,
    wanted: (order: Data) => boolean = () => true,
  ): Promise<Data> => {
    const look = async (): Promise<Data | undefined> => {
      const at_least = await system.tail();
      const { orders } = await client.call(API.ledger.orders, { run_id, at_least, limit: 200 });
      return (orders as Data[]).find((one) => one.step === step && wanted(one));
    };
    return waitFor(look, { timeoutMs: 30_000 });
  };
  const due = (run_id: string, step: string, attempt: number) =>
    order(run_id, step, (one) => units.isEnqueued(one) && one.attempt === attempt);

  const report = async (one: Data, events: { type: string; payload: Data }[]): Promise<void> => {
    const { theater_id, run_id, order_id } = one;
    const at = { theater_id, run_id, order_id, unit_id: 'assault_by_hand' };
    const batch = events.map((event) => ({ ...at, ...event }));
    await client.call(API.ledger.appendBatch, { events: batch } as never);
  };

  return {
    system,
    client,
    run: async (input = {}) => {
      const { theater } = freshIds();
      const asked = { theater_hint: theater, objective: 'Do it', autopilot: true, ...input };
      return (await client.call(API.co.createRun, asked)).run_id;
    },
    runView,
    order,
    work: async (run_id, step, text = `the text of ${step}`, attempt = 1) => {
      const { order_id } = await due(run_id, step, attempt);
      await units.doOrder(system, order_id as string, text);
    },
    block: async (run_id, step, reason, attempt = 1) => {
      await report(await due(run_id, step, attempt), [
        { type: 'ORDER_STARTED', payload: { attempt } },
        { type: 'ORDER_BLOCKED', payload: { attempt, reason } },
      ]);
    },
    fail: async (run_id, step, attempt = 1) => {
      const payload = { attempt, code: 'MODEL_ERROR', message: 'no', retryable: false };
      await report(await due(run_id, step, attempt), [
        { type: 'ORDER_STARTED', payload: { attempt } },
        { type: 'ORDER_FAILED', payload },
      ]);
    },
    end: (run_id) => units.runEnd(system, run_id, 30_000),
    types: async (run_id) => (await system.eventsOf({ run_id })).map(({ type }) => type as string),
    question: (run_id) =>
      waitFor(
        async () => {
          const at_least = await system.tail();
          const asked = await client.call(API.gateway.escalations, { run_id, at_least });
          return asked.escalations.find((one) => one.decision_by !== null && !one.decision);
        },
        { timeoutMs: 30_000 },
      ),
    [Symbol.asyncDispose]: dispose,
  };
}

/** A step of a playbook that writes one file. */
export function step(key: string, more: Data = {}): Data {
  return {
    key,
    type: 'draft',
    objective: '{{objective}}',
    constraints: { budget_seconds: 60, max_retries: 0 },
    prompt: { system: 's', files: ['inputs/{{run_id}}/*'] },
    outputs: [{ path: `outputs/{{run_id}}/${key}.md` }],
    ...more,
  };
}

/** A playbook of these steps that answers with the last one. */
export function playbook(name: string, steps: readonly Data[], version = 1): Data {
  const last = steps.at(-1)?.key as string;
  const reply = [{ step: last, path: `outputs/{{run_id}}/${last}.md` }];
  return { name, version, description: '', steps, reply };
}
