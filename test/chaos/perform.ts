import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from './client.ts';
import type { Action, Plan } from './schedule.ts';
import type { System } from './system.ts';

/** What was really done: by kind of fault, by member, and the kills by member. */
export type Done = Record<'faults' | 'byMember' | 'kills', Record<string, number>>;

/**
 * Does what the plan says, when it says so, and resolves when the time is over and every client has
 * its answer or has given up. A fault that finds its target down already is left out.
 */
export async function perform(
  plan: Plan,
  system: System,
  client: Client,
  say: (line: string) => void,
): Promise<Done> {
  const done: Done = { faults: {}, byMember: {}, kills: {} };
  const clients: Promise<void>[] = [];
  const startedAt = performance.now();
  const elapsed = (): number => performance.now() - startedAt;
  let saidAt = 0;
  for (const action of plan.actions) {
    const waitMs = action.atMs - elapsed();
    if (waitMs > 0) await sleep(waitMs);
    if (elapsed() - saidAt > 10_000) {
      saidAt = elapsed();
      say(`${Math.round(saidAt / 1_000)} s of ${Math.round(plan.durationMs / 1_000)} s`);
    }
    const asked = speak(action, client);
    if (asked !== undefined) clients.push(asked);
    else if (harm(action, system, client)) {
      count(done.faults, action.do);
      if ('member' in action) count(done.byMember, action.member);
      if (action.do === 'kill') count(done.kills, action.member);
    }
  }
  await sleep(Math.max(0, plan.durationMs - elapsed()));
  await system.heal();
  await Promise.all(clients);
  return done;
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

/** What clients do; undefined: the action is a fault. */
function speak(action: Action, client: Client): Promise<void> | undefined {
  switch (action.do) {
    case 'chat':
      return copies(action.copies, action.copyAfterMs, () => client.chat(action.chat));
    case 'cancel':
      return client.cancel(action.requestId);
    case 'append':
      return copies(action.copies, 0, () => client.append(action.kind, action.id));
    case 'intake':
      return copies(action.copies, action.copyAfterMs, () =>
        client.publish(action.id, action.wellFormed),
      );
    case 'deliver':
      return copies(action.copies, action.copyAfterMs, () =>
        client.deliver(action.id, action.way, action.forged),
      );
    default:
      return undefined;
  }
}

async function copies(count: number, afterMs: number, send: () => Promise<void>): Promise<void> {
  const sends = Array.from({ length: count }, async (_, index) => {
    await sleep(index * afterMs);
    await send();
  });
  await Promise.all(sends);
}

/** False: there was nothing to harm. */
function harm(action: Action, system: System, client: Client): boolean {
  switch (action.do) {
    case 'kill':
      return system.members.get(action.member)?.end('SIGKILL', action.downMs) ?? false;
    case 'restart':
      return system.members.get(action.member)?.end('SIGTERM', action.downMs) ?? false;
    case 'pause':
      return system.members.get(action.member)?.pause(action.forMs) ?? false;
    case 'siege':
      return action.members
        .map((name) => system.members.get(name)?.pause(action.forMs) ?? false)
        .some((paused) => paused);
    case 'delay':
      system.lines.get(action.member)?.delay(action.forMs);
      return true;
    case 'cut':
      system.lines.get(action.member)?.cut();
      return true;
    case 'kill-broker':
      return system.killBroker(action.downMs);
    case 'slow-disk':
      void system.pulseBroker(action.forMs, action.stillMs, action.goMs);
      return true;
    case 'rebuild-views':
      void client.request('POST', '/ledger/views/rebuild', {});
      return true;
    default:
      return false;
  }
}
