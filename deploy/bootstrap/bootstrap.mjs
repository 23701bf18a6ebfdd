// Makes a fresh clone ready to run: packages, Node 24, nats-server. Called before the npm scripts;
// quiet and quick where nothing is to be done. Runs on Node 18, with built-ins only.
//   --no-broker              packages only
//   --external-broker-ok     with NATS_URL set, no nats-server is looked for
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import findNode from './find-node.cjs';
import { installPackages } from './install.mjs';
import { findNatsServer } from './nats-server.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const flags = new Set(process.argv.slice(2));
const log = (line) => console.error(`[setup] ${line}`);

try {
  await installPackages(root, log);
  if (findNode.findNode() === undefined) throw new Error(findNode.NODE_MISSING);
  const external = flags.has('--external-broker-ok') && Boolean(process.env.NATS_URL);
  if (!flags.has('--no-broker') && !external) await findNatsServer({ log, fetch: true });
} catch (error) {
  console.error(`\nIronClaw's set-up failed. ${error.message}\n`);
  process.exitCode = 1;
}
