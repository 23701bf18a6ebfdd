// One or more roles in a process of their own: ROLES, NATS_URL and the settings of the system.
import { createLogger } from '#libs/telemetry';
import { configFromEnv } from '#libs/runtime';
import type { Role } from '#libs/contracts';
import { startHost } from '../../../apps/cli/host.ts';
import { answerParent } from '../child.ts';

const env = process.env;
const host = await startHost({
  roles: (env.ROLES ?? '').split(',') as Role[],
  natsUrl: env.NATS_URL ?? '',
  config: configFromEnv(env),
  env,
  logger: createLogger({ name: 'bench', level: 'silent' }),
  version: 'bench',
  http: true,
});
answerParent({ url: () => host.http?.url });
