import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import {
  AppError,
  type GateProfile,
  gateProfile,
  invalid,
  isAppError,
  parse,
} from '#libs/contracts';

/** The folder of the gate profiles that come with IronClaw. */
export const BUILT_IN_GATE_PROFILES = path.join(import.meta.dirname, 'profiles');

const PROFILES_MAX = 200;
const FILE_BYTES_MAX = 256 * 1024;

/**
 * Reads every `*.json` of the folders; a name may occur once.
 * @throws {INVALID_REQUEST} a file is not a gate profile; `field` is `<file>: <field>`
 */
export async function loadGateProfiles(
  dirs: readonly string[] = [BUILT_IN_GATE_PROFILES],
): Promise<ReadonlyMap<string, GateProfile>> {
  const profiles = new Map<string, GateProfile>();
  const origins = new Map<string, string>();
  for (const dir of dirs) {
    const names = (await readdir(dir)).filter((name) => name.endsWith('.json')).sort();
    for (const name of names) {
      const file = path.join(dir, name);
      const profile = await loadProfile(file);
      const other = origins.get(profile.name);
      if (other !== undefined) {
        throw invalid(`${file}: name`, `${profile.name} is already the name of ${other}`);
      }
      if (profiles.size >= PROFILES_MAX) throw invalid(file, `over ${PROFILES_MAX} gate profiles`);
      profiles.set(profile.name, profile);
      origins.set(profile.name, file);
    }
  }
  return profiles;
}

async function loadProfile(file: string): Promise<GateProfile> {
  if ((await stat(file)).size > FILE_BYTES_MAX) throw invalid(file, `over ${FILE_BYTES_MAX} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw invalid(file, `is not valid JSON: ${error.message}`);
  }
  try {
    return parse(gateProfile, value);
  } catch (error) {
    if (!isAppError(error)) throw error;
    throw new AppError(
      'INVALID_REQUEST',
      { reason: `${file}: ${error.message}` },
      { field: `${file}: ${error.field ?? ''}` },
    );
  }
}
