import { readFileSync, statSync } from 'node:fs';
import { AppError, invalid } from '#libs/contracts';

const FILE_BYTES_MAX = 256 * 1024;
const PREFIX = 'IRONCLAW_';

/** `stall_ms` of IRONCLAW_STALL_MS: how files, runs and people name a setting. */
export function settingKey(variable: string): string {
  return variable.slice(PREFIX.length).toLowerCase();
}

/** IRONCLAW_STALL_MS of `stall_ms`. */
export function settingVariable(key: string): string {
  return `${PREFIX}${key.toUpperCase()}`;
}

/** A refusal that names the file and the key. */
export function badSetting(file: string, key: string, reason: string): AppError {
  return invalid(key === '' ? file : `${file}: ${key}`, reason);
}

/**
 * Reads a settings file, one JSON object of keys and values, as environment variables would be.
 * @param allowed the variables that may stand in it
 * @throws {INVALID_REQUEST} no JSON, an unknown key, a value of no use; `field` is `<file>: <key>`
 * @returns undefined where there is no such file
 */
export function readSettingsFile(
  file: string,
  allowed: ReadonlySet<string>,
): Record<string, string> | undefined {
  const text = readText(file);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badSetting(file, '', `is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badSetting(file, '', 'must be a JSON object');
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, given]) => {
      const variable = settingVariable(key);
      if (key !== key.toLowerCase() || !allowed.has(variable)) {
        throw badSetting(file, key, 'is not a setting that may stand here');
      }
      return [variable, asText(file, key, given)];
    }),
  );
}

function readText(file: string): string | undefined {
  try {
    if (statSync(file).size > FILE_BYTES_MAX) {
      throw badSetting(file, '', `is over ${FILE_BYTES_MAX} bytes`);
    }
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (error instanceof AppError) throw error;
    throw badSetting(file, '', `cannot be read: ${(error as Error).message}`);
  }
}

function asText(file: string, key: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value.join(',');
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return JSON.stringify(value);
  }
  throw badSetting(file, key, 'must be text, a number, true or false, or a list of texts');
}
