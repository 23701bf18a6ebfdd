import { type Config, configFromEnv } from '#libs/runtime';
import packageJson from '../../package.json' with { type: 'json' };

export type Env = Record<string, string | undefined>;

/** The version of this program. */
export const VERSION: string = packageJson.version;

/** The environment with settings from the command line on top; undefined ones leave it as it is. */
export function withSettings(env: Env, settings: Env): Env {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  return { ...env, ...Object.fromEntries(given) };
}

/** Options that stand for a setting, as `--state` for IRONCLAW_STATE. */
export type SettingOptions = {
  state?: string;
  host?: string;
  port?: string;
  theater?: string;
};

/**
 * The settings of a command: the environment, and its options on top.
 * @throws {INVALID_REQUEST} a setting is out of its bounds; `field` names the variable
 */
export function settingsOf(env: Env, options: SettingOptions): { env: Env; config: Config } {
  const merged = withSettings(env, {
    IRONCLAW_STATE: options.state,
    IRONCLAW_HOST: options.host,
    IRONCLAW_PORT: options.port,
    IRONCLAW_THEATERS: options.theater,
  });
  return { env: merged, config: configFromEnv(merged) };
}
