import { execFile } from 'node:child_process';
import { access, mkdtemp, rm, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { isAppError } from '#libs/contracts';
import { modelFromEnv } from '#libs/models';
import type { Config } from '#libs/runtime';
import { STREAMS } from '#streams';
import { findNatsServer, NatsServerError } from '../../../deploy/bootstrap/nats-server.mjs';
import type { Env } from '../env.ts';
import { size } from '../format.ts';

/** What is found about one thing; `fix` where something is to be done. */
export type Finding = { state: 'ok' | 'warn' | 'fail'; detail: string; fix?: string };

export const ok = (detail: string): Finding => ({ state: 'ok', detail });
export const warn = (detail: string, fix: string): Finding => ({ state: 'warn', detail, fix });
export const fail = (detail: string, fix: string): Finding => ({ state: 'fail', detail, fix });

const NODE_MAJOR = 24;
/** nats-server gives its store this part of the free disk. */
const STORE_SHARE = 0.75;
const LOW_DISK_BYTES = 1024 ** 3;
const MODEL_MS_MAX = 30_000;

export function checkNode(version: string): Finding {
  if (Number.parseInt(version, 10) >= NODE_MAJOR) return ok(version);
  return fail(
    `${version} is too old`,
    `Run npm run setup, or install Node ${NODE_MAJOR} or newer.`,
  );
}

/** The nats-server that `up` would start. */
export async function checkServer(env: Env): Promise<Finding> {
  try {
    const { path, version, source } = await findNatsServer({ env });
    return ok(`nats-server ${version} (${source}: ${path})`);
  } catch (error) {
    if (!(error instanceof NatsServerError)) throw error;
    const [reason = '', ...fix] = error.message.split('\n');
    return fail(reason, fix.map((line) => line.trim()).join(' '));
  }
}

/** Can `up` listen where it wants to? */
export async function checkPort(config: Config): Promise<Finding> {
  const { host, port } = config;
  if (port === 0) return ok('a free one is taken');
  const code = await new Promise<string | undefined>((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });
  if (code === undefined) return ok(`${host}:${port} is free`);
  if (code === 'EADDRINUSE') {
    return fail(
      `${host}:${port} is used by another program`,
      'Choose another: IRONCLAW_PORT, or up --port 0.',
    );
  }
  return fail(
    `${host}:${port} cannot be bound (${code})`,
    'Correct IRONCLAW_HOST and IRONCLAW_PORT.',
  );
}

/** The streams promise room: nats-server creates them only where the disk has it. */
export async function checkDisk(stateDir: string, ownBroker: boolean): Promise<Finding> {
  const { bavail, bsize } = await statfs(await nearest(stateDir));
  const finding = judgeDisk(bavail * bsize, ownBroker);
  return { ...finding, detail: `${finding.detail} for ${stateDir}` };
}

/** Judges the free bytes of the disk; pure. */
export function judgeDisk(free: number, ownBroker: boolean): Finding {
  const promised = STREAMS.reduce((sum, { maxBytes }) => sum + Math.max(0, maxBytes), 0);
  const needed = ownBroker ? promised / STORE_SHARE : 0;
  const has = `${size(free)} free`;
  if (free < needed) {
    return fail(
      `${has}, ${size(needed)} are needed`,
      'Free some disk, or choose another folder: --state.',
    );
  }
  if (free - needed < LOW_DISK_BYTES)
    return warn(has, 'Free some disk: a full one stops all writes.');
  return ok(has);
}

export async function checkState(stateDir: string): Promise<Finding> {
  const place = await nearest(stateDir);
  try {
    // Made and removed: permission bits say little to root, and nothing of /proc.
    await rm(await mkdtemp(join(place, '.ironclaw-doctor-')), { recursive: true });
    return ok(place === stateDir ? stateDir : `${stateDir} (made by up)`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return fail(
      `${place} cannot be written (${code})`,
      'Correct its owner, or choose another: --state.',
    );
  }
}

/** IronClaw writes git repositories by itself; git is what people look at them with. */
export async function checkGit(): Promise<Finding> {
  const fix =
    'Install git: the demo checks its result with it, and you look into theaters with it.';
  return new Promise((resolve) => {
    execFile('git', ['--version'], { timeout: 10_000 }, (error, stdout) => {
      resolve(error === null ? ok(stdout.trim()) : warn('there is no git', fix));
    });
  });
}

/** What the environment says of the model; with `ask` one tiny question goes to it. */
export async function checkModel(env: Env, ask: boolean): Promise<Finding> {
  try {
    const { provider, announcement, defaultModel } = modelFromEnv(env);
    if (!ask) return ok(announcement);
    const { requestMs, model } = await provider.complete({
      model: defaultModel,
      system: 'Answer with the one word: ready.',
      files: [],
      objective: 'Say that you are ready.',
      task: 'draft',
      outputs: [],
      maxTokens: 16,
      signal: AbortSignal.timeout(MODEL_MS_MAX),
    });
    return ok(`${announcement} ${model} answered within ${requestMs} ms.`);
  } catch (error) {
    if (!isAppError(error)) throw error;
    return fail(
      error.message,
      'Check the key and base URL: IO_INTELLIGENCE_API_KEY, IO_INTELLIGENCE_BASE_URL, OPENAI_*.',
    );
  }
}

/** The folder itself, or the closest one above it that is there. */
async function nearest(folder: string): Promise<string> {
  for (let place = folder; ; place = dirname(place)) {
    try {
      await access(place);
      return place;
    } catch (error) {
      if (dirname(place) === place) throw error;
    }
  }
}
