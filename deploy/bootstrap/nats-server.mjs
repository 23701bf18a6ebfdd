// Finds a usable nats-server, or fetches one. Node built-ins only; runs on Node 18.
import { mkdir, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { fetchFromDebian } from './debian.mjs';
import { run } from './run.mjs';

const BINARY = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server';

/** What is accepted, in words. */
export const NEEDED = 'nats-server 2.14.4 or newer (or 2.12.14 or newer of 2.12)';

/** A nats-server that cannot be used or had; `code` is the one of the error catalogue. */
export class NatsServerError extends Error {
  name = 'NatsServerError';
  code = 'BROKER_MISSING';
}

/** True where this version has what IronClaw needs: 2.12.14 on, of 2.13 none, 2.14.4 on. */
export function isUsableVersion(version) {
  const match = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const [major, minor, patch] = match.slice(1).map(Number);
  if (major !== 2) return major > 2;
  if (minor === 12) return patch >= 14;
  if (minor === 14) return patch >= 4;
  return minor > 14;
}

/** The folder for what is fetched once per user. */
function cacheFolder(env) {
  if (env.IRONCLAW_CACHE) return path.resolve(env.IRONCLAW_CACHE);
  return path.join(env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'ironclaw');
}

/**
 * The nats-server to start: `IRONCLAW_NATS_SERVER`, else one on PATH, else one in the cache, else
 * (with `fetch`) the newest Debian package. Throws NatsServerError with what to install.
 */
export async function findNatsServer({ env = process.env, log = () => {}, fetch = false } = {}) {
  const chosen = env.IRONCLAW_NATS_SERVER;
  if (chosen) {
    const found = await tryBinary(chosen);
    if (found.usable) return { path: chosen, version: found.version, source: 'env' };
    throw new NatsServerError(`IRONCLAW_NATS_SERVER: ${chosen} ${found.reason ?? 'is not there'}`);
  }
  const refused = [];
  for (const { file, source } of await candidates(env)) {
    const found = await tryBinary(file);
    if (found.usable) return { path: file, version: found.version, source };
    if (found.reason !== undefined) refused.push(`${file} ${found.reason}`);
  }
  if (fetch) {
    try {
      return await fetchIntoCache(cacheFolder(env), log);
    } catch (error) {
      refused.push(`Debian package: ${error.message}`);
    }
  }
  throw new NatsServerError(missingText(refused, fetch));
}

async function fetchIntoCache(cache, log) {
  const folder = path.join(cache, 'nats-server');
  await mkdir(folder, { recursive: true });
  const place = await fetchFromDebian(folder, log);
  const file = path.join(place, BINARY);
  const found = await tryBinary(file);
  if (!found.usable) throw new Error(found.reason ?? `${file} is not there`);
  return { path: file, version: found.version, source: 'debian' };
}

/** Every place a nats-server may be, best first. */
async function candidates(env) {
  const onPath = (env.PATH ?? '')
    .split(path.delimiter)
    .filter((folder) => path.isAbsolute(folder))
    .map((folder) => ({ file: path.join(folder, BINARY), source: 'path' }));
  const folder = path.join(cacheFolder(env), 'nats-server');
  const versions = await readdir(folder).catch((error) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const cached = versions
    .filter(isUsableVersion)
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((version) => ({ file: path.join(folder, version, BINARY), source: 'cache' }));
  return [...onPath, ...cached];
}

/** Asks a binary for its version; no reason where there is no such file. */
async function tryBinary(file) {
  let text;
  try {
    text = await run(file, ['--version'], { timeoutMs: 10_000 });
  } catch (error) {
    if (error.code === 'ENOENT') return { usable: false, reason: undefined };
    return { usable: false, reason: `does not run here (${error.message})` };
  }
  const version = /v(\d+\.\d+\.\d+\S*)/.exec(text)?.[1];
  if (version === undefined) return { usable: false, reason: 'does not say its version' };
  if (isUsableVersion(version)) return { usable: true, version };
  return { usable: false, reason: `is ${version}; needed is ${NEEDED}` };
}

function missingText(refused, fetched) {
  return [
    `${NEEDED} is needed and was not found.`,
    ...refused.map((line) => `  ${line}`),
    'Install it (Debian testing or unstable: `apt install nats-server`; macOS: `brew install',
    'nats-server`; elsewhere a release of nats-io/nats-server) so that it is on PATH, or set',
    'IRONCLAW_NATS_SERVER to its path. NATS_URL uses a server that already runs.',
    ...(fetched ? [] : ['`npm run setup` tries to fetch it.']),
  ].join('\n');
}
