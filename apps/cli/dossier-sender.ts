import { statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { invalid } from '#libs/contracts';
import {
  type Drained,
  drainEventQueue,
  drainQueue,
  followQueue,
  lockDrain,
  openEventQueue,
  openQueue,
  pushBody,
  type Tick,
  TICK_MS,
} from '#libs/dossier';
import { loadGate } from '#libs/missionlog';
import type { Gate } from '#libs/missions';
import type { Logger } from 'pino';
import type { Env } from './env.ts';

export type Target = { server: string; token: string | undefined };

/**
 * The server that is named, and the token for it; undefined: none is.
 * @throws {INVALID_REQUEST} it is no http or https URL
 */
export function namedTarget(env: Env, named: Partial<Target> = {}): Target | undefined {
  const server = named.server ?? env.IRONCLAW_DOSSIER_SERVER;
  if (server === undefined || server === '') return undefined;
  if (!URL.canParse(server) || !/^https?:/.test(server)) {
    throw invalid('server', `${server} is no http or https URL`);
  }
  return { server, token: tokenOf(env, named.token) };
}

export function tokenOf(env: Env, token: string | undefined): string | undefined {
  return token ?? (env.IRONCLAW_DOSSIER_TOKEN || env.IRONCLAW_TOKEN);
}

export type SenderOptions = {
  /** The queue; it is opened for each drain alone, so that others may send in between. */
  file: string;
  gate: Gate;
  /** Told why events cannot be sent. */
  onEventsHeld: (reason: string) => void;
  signal?: AbortSignal;
};

/** What one drain did, and what it left. */
export type Sent = Drained & {
  queued: number;
  events_queued: number;
  events_set_aside: number;
};

const nowMs = (): number => Date.now();

/**
 * Sends all that is due, once: events, then bodies.
 * @param keepTries see `drainQueue`
 * @returns undefined: another process sends at this moment
 */
export async function sendOnce(
  { file, gate, onEventsHeld, signal }: SenderOptions,
  target: Target,
  keepTries = false,
): Promise<Sent | undefined> {
  const lock = lockDrain(file);
  if (lock === undefined) return undefined;
  const open: { close(): void }[] = [{ close: () => lock.release() }];
  const kept = <T extends { close(): void }>(one: T): T => {
    open.unshift(one);
    return one;
  };
  try {
    const events = kept(openEventQueue(file, { nowMs }));
    const queue = kept(openQueue(file, { nowMs }));
    const way = { ...target, abort: signal };
    const drained = await drainQueue({
      queue,
      gate: (upload) => gate.body('body upload', upload),
      nowMs,
      keepTries,
      drainEvents: async () => {
        const check = (event: unknown): void => gate.envelope('replay', event);
        const reason = await drainEventQueue({ queue: events, gate: check, ...way });
        if (reason !== null && !signal?.aborted) onEventsHeld(reason);
        return reason === null;
      },
      push: (upload) => pushBody(upload, way),
      ...(signal !== undefined && { signal }),
    });
    const { queued } = queue.status();
    const { queued: events_queued, set_aside: events_set_aside } = events.status();
    return { ...drained, queued, events_queued, events_set_aside };
  } finally {
    for (const one of open) one.close();
  }
}

export type FollowOptions = SenderOptions & {
  /** Asked before each drain; undefined: nobody is there to send to now. */
  target: () => Target | undefined;
  tickMs: number;
  signal: AbortSignal;
  /** Told where something was sent or held, or where the sending starts or stops to work. */
  tell: (sent: Sent | { stopped: Tick['stopped'] }, waitMs: number) => void;
};

/** Sends what is due, whenever something is, until the signal is aborted. */
export async function sendOn(options: FollowOptions): Promise<void> {
  const { file, target, tickMs, signal, tell } = options;
  let before: Tick['stopped'] | undefined;
  let version = '';
  // Open all the while: whoever closes a queue last changes its files.
  const queue = openQueue(file, { nowMs });
  try {
    await followQueue({
      signal,
      tickMs,
      tick: async () => {
        // Before the drain: what comes while it runs is seen too, for one look too many after it.
        version = versionOf(file);
        const to = target();
        if (to === undefined) return { stopped: 'unreachable' };
        return (await sendOnce(options, to, true)) ?? { stopped: 'busy' };
      },
      nextDueMs: () => {
        const { next_attempt_at } = queue.status();
        return next_attempt_at === null ? null : Date.parse(next_attempt_at) - nowMs();
      },
      sleep: (ms, isDown) => sleepUntil(ms, signal, () => !isDown && versionOf(file) !== version),
      onTick: (tick, waitMs) => {
        if (tick.stopped !== before || hasWork(tick)) tell(tick, waitMs);
        before = tick.stopped;
      },
    });
  } finally {
    queue.close();
  }
}

/**
 * Sends as long as the process lives, where the environment names a server and, by an absolute
 * path, a queue. A sender that fails is told in the log and takes nothing with it.
 */
export function sendInBackground(env: Env, logger: Logger): { stop(): Promise<void> } {
  const { IRONCLAW_DOSSIER_QUEUE: queue, IRONCLAW_STATE: state = '' } = env;
  const file = queue || join(state, 'dossier', 'queue.db');
  const stopping = new AbortController();
  const send = async (): Promise<void> => {
    const named = namedTarget(env);
    if (named === undefined || !isAbsolute(file)) return;
    await sendOn({
      file,
      gate: loadGate(env),
      target: () => named,
      tickMs: TICK_MS,
      signal: stopping.signal,
      onEventsHeld: (reason) => logger.warn({ reason }, 'the events cannot be sent'),
      tell: (sent, wait_ms) => logger.info({ ...sent, wait_ms }, 'dossiers'),
    });
  };
  const ended = send().catch((error: unknown) => {
    logger.error({ err: error }, 'dossiers are sent no longer');
  });
  return {
    stop: () => {
      stopping.abort();
      return ended;
    },
  };
}

function hasWork(tick: Tick): boolean {
  if (!('uploaded' in tick)) return false;
  const { uploaded, already_exists, retrying, failed, held, exhausted } = tick;
  return uploaded + already_exists + retrying + failed + held + exhausted > 0;
}

/** Changes whenever a process writes into the queue. */
function versionOf(file: string): string {
  const parts = [file, `${file}-wal`].map((one) => {
    const stat = statSync(one, { throwIfNoEntry: false });
    return stat === undefined ? '-' : `${stat.size} ${stat.mtimeMs}`;
  });
  return parts.join(' ');
}

const LOOK_MS = 1_000;

/** Resolves after the time, when the signal is aborted, or when `isOver` says so (each second). */
async function sleepUntil(ms: number, signal: AbortSignal, isOver: () => boolean): Promise<void> {
  const until = performance.now() + ms;
  for (let left = ms; left > 0 && !signal.aborted; left = until - performance.now()) {
    try {
      await delay(Math.min(left, LOOK_MS), undefined, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (isOver()) return;
  }
}
