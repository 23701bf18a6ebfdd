import { createHmac } from 'node:crypto';
import { invalid, LIMITS } from '#libs/contracts';

/** A secret that signs; `keyId` names it in records and never tells anything of its text. */
export type SigningSecret = { readonly keyId: string; readonly secret: string };

/** The variable of the secret in use, and of those that are still accepted beside it. */
export const SECRET_VARIABLE = 'MILESTONE_SIGNING_SECRET';
export const ROTATED_VARIABLE = 'MILESTONE_SIGNING_SECRETS_ACCEPTED';

type Env = Readonly<Record<string, string | undefined>>;

/**
 * The active secrets, the one that signs first; none where neither variable is set. Outer blanks
 * are no part of a secret, on either side. MILESTONE_SIGNING_SECRETS_ACCEPTED holds further secrets,
 * apart by commas or line breaks.
 * @throws {INVALID_REQUEST} a secret is blank, or there are more than LIMITS.signingSecrets
 */
export function secretsFromEnv(env: Env): SigningSecret[] {
  const secrets: string[] = [];
  const first = env[SECRET_VARIABLE];
  if (first !== undefined) secrets.push(usable(first, SECRET_VARIABLE));
  for (const one of (env[ROTATED_VARIABLE] ?? '').split(/[,\r\n]/)) {
    // A comma or a line break at the end is no blank secret.
    if (one !== '') secrets.push(usable(one, ROTATED_VARIABLE));
  }
  const distinct = [...new Set(secrets)];
  if (distinct.length > LIMITS.signingSecrets) {
    throw invalid(ROTATED_VARIABLE, `holds more than ${LIMITS.signingSecrets} secrets`);
  }
  return distinct.map(signingSecret);
}

/** A secret with its key id: the first 12 hex digits of a MAC that only names it. */
export function signingSecret(text: string): SigningSecret {
  const secret = usable(text, SECRET_VARIABLE);
  return {
    secret,
    keyId: createHmac('sha256', secret).update('key id').digest('hex').slice(0, 12),
  };
}

function usable(text: string, variable: string): string {
  const secret = text.trim();
  if (secret === '') throw invalid(variable, 'is blank; set a secret, or unset the variable');
  return secret;
}
