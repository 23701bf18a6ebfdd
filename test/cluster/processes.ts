import { startTestCluster } from '#libs/testing';
import { findNatsServer } from '../../deploy/bootstrap/nats-server.mjs';
import { applyThreefold, type Target } from './target.ts';

/** Three nats-server processes on this machine; test/containers cuts real networks. */
export async function startProcesses(): Promise<Target> {
  const { path: binary } = await findNatsServer({ fetch: true });
  const cluster = await startTestCluster({ binary });
  const target: Target = {
    cluster,
    cutOff: (node) => node.freeze(),
    heal: (node) => node.thaw(),
  };
  await applyThreefold(target);
  return target;
}
