import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { invalid, isAppError, isId, parse } from '#libs/contracts';
import { z } from 'zod';
import { BEHAVIOUR, LEVELS } from './behaviour.ts';
import { CONFIG, readGarrison, stateLayout } from './config.ts';
import { badSetting, readSettingsFile, settingKey, settingVariable } from './settings-file.ts';

type Variable = keyof typeof BEHAVIOUR;
type KeyOf<V> = V extends `IRONCLAW_${infer K}` ? Lowercase<K> : never;

/** What holds for a run, by key. */
export type Behaviour = {
  readonly [V in Variable as KeyOf<V>]: z.output<(typeof BEHAVIOUR)[V]>;
};

/** Settings of one run, as RUN_CREATED carries them. */
export type RunOverrides = Readonly<Record<string, string | number | boolean>>;

/** Whose settings are asked for; without a theater, the garrison's. */
export type SettingPlace = { theaterId?: string | undefined; run?: RunOverrides | undefined };

export type ExplainedSetting = {
  key: string;
  variable: string;
  value: unknown;
  /** `default`, `environment`, the path of a file, or `run`. */
  source: string;
  /** The lowest level at which it may be given. */
  level: 'garrison' | 'theater' | 'run';
  meaning: string;
};

/** The layers, lowest first: defaults, garrison file, environment, theater file, run. */
export type Settings = {
  /** @throws {INVALID_REQUEST} the theater's file, or a setting of the run, cannot be */
  of(place?: SettingPlace): Behaviour;
  /** Every setting there is, and where its value comes from. @throws {INVALID_REQUEST} */
  explain(place?: SettingPlace): ExplainedSetting[];
};

const SHAPE = z.object(BEHAVIOUR);
const THEATER_KEYS: ReadonlySet<string> = new Set(Object.keys(LEVELS));
const RUN_KEYS: ReadonlySet<string> = new Set(
  Object.entries(LEVELS).flatMap(([name, level]) => (level === 'run' ? [name] : [])),
);

/**
 * Opens the settings of a process. Files are read once, those of theaters as they are first asked
 * for; a change takes a restart. Theaters that are there already are checked at once.
 * A theater's file is `theaters/<id>/config.json` in the state folder, beside repository and
 * worktrees, never inside, so that no unit can write it.
 * @throws {INVALID_REQUEST} `field` names the variable, or the file and the key
 */
export function openSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const garrison = readGarrison(env);
  const theaters = stateLayout(resolve(garrison.values.IRONCLAW_STATE)).theaters;
  const files = new Map<string, Record<string, string>>();

  const ofTheater = (theaterId: string): Record<string, string> => {
    const known = files.get(theaterId);
    if (known !== undefined) return known;
    const file = theaterFile(theaters, theaterId);
    const given = checkSettingsFile(file, 'theater') ?? {};
    files.set(theaterId, given);
    return given;
  };
  for (const theaterId of theatersIn(theaters)) ofTheater(theaterId);

  const layers = ({ theaterId, run }: SettingPlace) => ({
    theater: theaterId === undefined ? {} : ofTheater(theaterId),
    run: run === undefined ? {} : checkRunSettings(run),
  });

  return {
    of: (place = {}) => {
      const { theater, run } = layers(place);
      const values = parse(SHAPE, { ...pick(garrison.given), ...theater, ...run });
      return byKey(values);
    },
    explain: (place = {}) => {
      const { theater, run } = layers(place);
      const values: Record<string, unknown> = {
        ...garrison.values,
        ...parse(SHAPE, { ...pick(garrison.given), ...theater, ...run }),
      };
      const sourceOf = (variable: string): string => {
        if (variable in run) return 'run';
        if (variable in theater) return theaterFile(theaters, place.theaterId ?? '');
        if (garrison.fromFile.has(variable)) return garrison.file;
        return variable in garrison.given ? 'environment' : 'default';
      };
      return Object.entries(CONFIG.shape).map(([variable, schema]) => ({
        key: settingKey(variable),
        variable,
        value: values[variable],
        source: sourceOf(variable),
        level: variable in LEVELS ? LEVELS[variable as Variable] : 'garrison',
        meaning: schema.description ?? '',
      }));
    },
  };
}

/**
 * Checks the settings of one run and answers them by variable.
 * @throws {INVALID_REQUEST} not a setting that a run may have, or out of its bounds
 */
export function checkRunSettings(run: RunOverrides): Record<string, string> {
  const given = Object.fromEntries(
    Object.entries(run).map(([key, value]) => {
      const variable = settingVariable(key);
      if (key !== key.toLowerCase() || !RUN_KEYS.has(variable)) {
        throw invalid(`settings.${key}`, 'is not a setting that a run may have');
      }
      return [variable, String(value)];
    }),
  );
  try {
    parse(SHAPE, given);
  } catch (error) {
    throw renamed(error, (key, reason) => invalid(`settings.${key}`, reason));
  }
  return given;
}

/**
 * Checks a file of a theater or of the garrison and answers it by variable; undefined: there is none.
 * @throws {INVALID_REQUEST} `field` names the file and the key
 */
export function checkSettingsFile(
  file: string,
  level: 'garrison' | 'theater',
): Record<string, string> | undefined {
  const allowed = level === 'theater' ? THEATER_KEYS : new Set(Object.keys(CONFIG.shape));
  const given = readSettingsFile(file, allowed);
  if (given === undefined) return undefined;
  try {
    parse(level === 'theater' ? SHAPE : CONFIG, given);
  } catch (error) {
    throw renamed(error, (key, reason) => badSetting(file, key, reason));
  }
  return given;
}

/** Theaters' folders looked at when a process starts. */
const THEATERS_MAX = 10_000;

function theatersIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter(isId).slice(0, THEATERS_MAX);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function theaterFile(theaters: string, theaterId: string): string {
  if (!isId(theaterId)) throw invalid('theater_id', 'must be an id');
  return join(theaters, theaterId, 'config.json');
}

/** A refusal of a variable told as one of its key. */
function renamed(error: unknown, make: (key: string, reason: string) => Error): unknown {
  if (!isAppError(error, 'INVALID_REQUEST') || error.field === undefined) return error;
  const [variable = ''] = error.field.split(/[.[]/);
  return make(settingKey(variable), error.message.slice(error.message.indexOf(': ') + 2));
}

function pick(given: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(given).filter(([name]) => THEATER_KEYS.has(name)));
}

function byKey(values: z.output<typeof SHAPE>): Behaviour {
  const entries = Object.entries(values).map(([name, value]) => [settingKey(name), value]);
  return Object.fromEntries(entries) as Behaviour;
}
