import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROTATED_VARIABLE, SECRET_VARIABLE } from '#libs/signing';
import { type Env, withSettings } from '../env.ts';

/**
 * The environment with a secret for signed deliveries: where none is configured, the one in the
 * state folder, which is made on first use and readable by its owner alone.
 */
export function withSigningSecret(env: Env, stateDir: string): Env {
  if (env[SECRET_VARIABLE] !== undefined || env[ROTATED_VARIABLE] !== undefined) return env;
  const file = join(stateDir, 'signing-secret');
  try {
    writeFileSync(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return withSettings(env, { [SECRET_VARIABLE]: readFileSync(file, 'utf8').trim() });
}
