import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { STREAMS } from '#streams';
import { type Child, startChild } from './child.ts';

/** What one part of a bench uses: brokers, processes and folders that are gone when it ends. */
export type Lab = {
  /** A nats-server with all streams, empty, on a port and a folder of its own. */
  broker(): Promise<TestBroker>;
  /** A program of `children/` in a process of its own. */
  child(name: string, env: Record<string, string>): Promise<Child>;
  folder(): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
};

const open = new Set<AsyncDisposableStack>();

/** `await using lab = openLab('2m')` */
export function openLab(sync: 'always' | '2m'): Lab {
  const stack = new AsyncDisposableStack();
  open.add(stack);
  return {
    broker: async () => stack.use(await startTestBroker({ streams: STREAMS, sync })),
    child: async (name, env) => {
      const child = await startChild(path.join(import.meta.dirname, 'children', name), env);
      stack.defer(() => child.close());
      return child;
    },
    folder: async () => {
      const folder = await realpath(await mkdtemp(path.join(tmpdir(), 'ironclaw-bench-')));
      stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
      return folder;
    },
    [Symbol.asyncDispose]: async () => {
      open.delete(stack);
      await stack.disposeAsync();
    },
  };
}

/** Ends everything that is still there, as when the bench is interrupted. */
export async function closeLabs(): Promise<void> {
  await Promise.all([...open].map((stack) => stack.disposeAsync()));
}
