import { configFromEnv } from '#libs/runtime';
import type { Role } from '#libs/contracts';
import { testLogger } from '#libs/testing';
import { type Host, startHost } from '../../apps/cli/host.ts';

/** Runs roles in this process, with all settings from `env`. */
export function serve(roles: readonly Role[], env: Record<string, string>): Promise<Host> {
  return startHost({
    roles,
    natsUrl: env.NATS_URL ?? '',
    config: configFromEnv(env),
    env,
    logger: testLogger(roles.join('-')),
    version: 'conformance',
    http: true,
  });
}
