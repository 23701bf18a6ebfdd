import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { applyStreams, connectBroker, startBroker } from '#libs/broker';
import { isAppError } from '#libs/contracts';
import { MISSIONS } from '#streams';
import { pino } from 'pino';
import { sendInBackground } from '../dossier-sender.ts';
import { homeOf, idleMsOf, removeHomeBroker, writeHomeBroker } from './home.ts';

const LOOKS_PER_IDLE = 10;
const LOOK_MS_MAX = 5_000;

/**
 * The process behind a repository's own broker: starts it, says where it is, and stops it when
 * nobody has asked it anything for IRONCLAW_MISSIONS_IDLE_SECONDS. Until then it sends dossiers too,
 * where the environment says where they lie and where they go. Argument: the git folder.
 */
async function serve(gitDir: string): Promise<void> {
  const home = homeOf(gitDir);
  mkdirSync(home.folder, { recursive: true, mode: 0o700 });
  const logger = pino({ name: 'missions-broker' });
  const token = randomBytes(24).toString('base64url');
  const server = await startBroker({ dataDir: home.broker, logger, token });
  const stopping = Promise.withResolvers<string>();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.once(signal, () => stopping.resolve(signal));
  }
  try {
    const broker = await connectBroker({
      url: server.url,
      name: 'missions-broker',
      logger,
      auth: { token },
    });
    await applyStreams(broker.jsm, [MISSIONS]);
    writeHomeBroker(home.running, {
      pid: process.pid,
      nats_url: server.url,
      nats_token: token,
      started_at: new Date().toISOString(),
    });
    const sender = sendInBackground(process.env, logger);
    const requests = async () => (await broker.jsm.getAccountInfo()).api.total;
    const why = await Promise.race([
      stopping.promise,
      server.exited.then(() => 'the broker ended'),
      untilIdle(requests, idleMsOf(process.env)).then(() => 'idle'),
    ]);
    logger.info({ why }, 'stopping');
    // From here on nobody new comes; who is here already sees a broker that is away.
    removeHomeBroker(home.running);
    await sender.stop();
    await broker.close();
  } finally {
    await server.stop();
  }
}

/** Resolves when the count of requests, but for our own looks, has stood still for so long. */
async function untilIdle(requests: () => Promise<number>, limitMs: number): Promise<void> {
  const lookMs = Math.min(LOOK_MS_MAX, limitMs / LOOKS_PER_IDLE);
  let before = await requests();
  let since = performance.now();
  while (performance.now() - since < limitMs) {
    await sleep(lookMs);
    const now = await requests();
    if (now > before + 1) since = performance.now();
    before = now;
  }
}

try {
  await serve(process.argv[2] ?? '');
  process.exit(0);
} catch (error) {
  // Another one was quicker: its broker serves.
  if (isAppError(error, 'ALREADY_RUNNING')) process.exit(0);
  throw error;
}
