import { createSend, createSigner, type Destination } from '#libs/outbox';
import type { RoleContext } from '#libs/runtime';
import { SECRET_VARIABLE, signingSecret } from '#libs/signing';

/**
 * The targets that can be sent to: those whose secret is there. What is queued for others waits.
 * @throws {INVALID_REQUEST} a secret is blank
 */
export function openDestinations(context: RoleContext): Destination[] {
  const { broker, config, env, log, logger } = context;
  const { now } = log.defaults;
  return Object.entries(config.targets).flatMap(([name, settings]) => {
    const variable = settings.secret_env ?? SECRET_VARIABLE;
    const secret = env[variable];
    if (secret === undefined) {
      logger.warn({ target: name, variable }, 'no secret: what is queued for the target waits');
      return [];
    }
    const sign = createSigner(signingSecret(secret), settings.signature, now);
    return [{ name, send: createSend(broker, settings, sign, now) }];
  });
}
