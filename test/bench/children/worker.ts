// One worker whose unit does nothing: its model answers at once. Orders of the theater `off` have
// their files in memory, all others in their git worktrees.
import { createHash } from 'node:crypto';
import { connectBroker } from '#libs/broker';
import { AppError } from '#libs/contracts';
import { openEventLog } from '#libs/eventlog';
import { configFromEnv, createTheaterDirectory } from '#libs/runtime';
import { createClient, serveNats } from '#libs/service';
import { createLogger } from '#libs/telemetry';
import type { WorkerModel } from '../../../apps/worker/attempt.ts';
import { createWorker } from '../../../apps/worker/role.ts';
import { openGitWorkspace, type OpenWorkspace } from '../../../apps/worker/workspace.ts';
import { answerParent } from '../child.ts';
import { orderJson } from '../orders/order-json.ts';

const NOTHING: WorkerModel = {
  defaultModel: 'nothing',
  provider: {
    name: 'nothing',
    complete: async ({ model }) => ({
      text: 'Done.',
      provider: 'nothing',
      model,
      temperature: 0,
      usage: { input_tokens: 0, output_tokens: 0 },
      costMicroUsd: 0,
      requestMs: 0,
      tries: 1,
      finishReason: 'stop',
      notes: [],
    }),
  },
};

/** Files of one order in memory; a commit is a digest of them. */
const openMemoryWorkspace: OpenWorkspace = (theater, { worktreePath }) => {
  const orderId = worktreePath.slice(worktreePath.lastIndexOf('order_') + 'order_'.length);
  const files = new Map<string, Uint8Array>();
  files.set('order.json', Buffer.from(orderJson(theater.theaterId, orderId)));
  return {
    root: worktreePath,
    readFile: async (path) => {
      const bytes = files.get(path);
      if (bytes === undefined) throw new AppError('ARTIFACT_NOT_FOUND', { path });
      return bytes;
    },
    writeFiles: async (written) => {
      for (const { path, bytes } of written) files.set(path, bytes);
    },
    writeState: async () => {},
    commit: async (message) => {
      const hash = createHash('sha1').update(message);
      for (const bytes of files.values()) hash.update(bytes);
      return hash.digest('hex');
    },
    committedReport: async () => undefined,
  };
};

const { env } = process;
const logger = createLogger({ name: 'bench', level: 'silent' });
const config = configFromEnv(env);
const broker = await connectBroker({ url: env.NATS_URL ?? '', name: 'worker', logger });
const worker = createWorker(
  {
    broker,
    log: openEventLog({ broker, garrisonId: config.garrisonId }),
    client: createClient(broker, { logger }),
    theaters: createTheaterDirectory(broker, config.garrisonId),
    config,
    env,
    logger,
    version: 'bench',
  },
  {
    model: NOTHING,
    openWorkspace: (theater, worktree) =>
      (theater.theaterId === 'off' ? openMemoryWorkspace : openGitWorkspace)(theater, worktree),
  },
);
await serveNats(broker, [worker.service], { logger }).ready;
answerParent({ cpu: () => process.cpuUsage() });
