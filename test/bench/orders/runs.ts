import { pino } from 'pino';
import { API } from '#libs/contracts';
import { ledgerTail } from '#libs/eventlog';
import { createClient } from '#libs/service';
import type { Lab } from '../lab.ts';
import { perSecond } from '../stats.ts';
import { followEndings } from './endings.ts';
import { inLanes, type Round } from './limit.ts';

const CONTROL = 'ledger,vault,observer,integration,co,gateway';

/** Whole runs of one order: all control roles in one process, one worker in another. */
export async function openRuns(lab: Lab, size: number) {
  const server = await lab.broker();
  const broker = await server.connect();
  const env = {
    NATS_URL: server.url,
    IRONCLAW_STATE: await lab.folder(),
    IRONCLAW_PORT: '0',
    IRONCLAW_THEATER: 'demo',
  };
  await lab.child('role.ts', { ...env, ROLES: CONTROL });
  await lab.child('worker.ts', env);
  const client = createClient(broker, { logger: pino({ level: 'silent' }) });
  await client.call(API.vault.openTheater, { theater_id: 'demo' });

  return async (): Promise<Round> => {
    const tail = await ledgerTail(broker);
    const endings = followEndings(broker, tail + 1, ({ type, run_id: id }) => {
      if (type === 'RUN_COMPLETED') return { id, ok: true };
      return type === 'RUN_FAILED' ? { id, ok: false } : undefined;
    });
    const startedAt = performance.now();
    await inLanes(Array.from({ length: size }), async () => {
      const { run_id } = await client.call(API.co.createRun, {
        objective: 'Do nothing',
        playbook: 'default',
        autopilot: true,
      });
      await endings.of(run_id);
    });
    const rate = perSecond(size, performance.now() - startedAt);
    endings.close();
    return { rate, messages: ((await ledgerTail(broker)) - tail) / size };
  };
}
