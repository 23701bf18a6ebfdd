import { resolve } from 'node:path';
import { API } from '#libs/contracts';
import { checkSettingsFile, openSettings, type RunOverrides } from '#libs/runtime';
import type { Command } from 'commander';
import { settingsOf } from '../env.ts';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { table } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  withConnection,
  withExamples,
  withJson,
} from '../options.ts';

type ShowOptions = ConnectionOptions & { theater?: string; run?: string; given?: true };
type CheckOptions = { theater?: true; json?: true };

export function configCommand(
  program: Command,
  run: (work: () => Promise<ExitCode>) => void,
  io: Io,
) {
  const command = program
    .command('config')
    .summary('show settings and where they come from')
    .description(
      'Settings in layers, lowest first: defaults; config.json in the state folder ' +
        '(IRONCLAW_CONFIG); the environment; theaters/<id>/config.json in the state folder; the run.',
    );
  const show = command
    .command('show', { isDefault: true })
    .description('Every setting, its value and its source. Processes read files as they start.')
    .option('--theater <id>', 'as they hold in this theater')
    .option('--run <id>', 'as they hold for this run')
    .option('--given', 'only those that are not at their default')
    .action((options: ShowOptions) => run(() => showConfig(io, options)));
  withConnection(show);
  const check = command
    .command('check <file>')
    .description("Checks a garrison's settings file, or with --theater one of a theater.")
    .option('--theater', 'as the file of a theater')
    .action((file: string, options: CheckOptions) => run(async () => checkFile(io, file, options)));
  withJson(check);
  withExamples(command, [
    'config show --given',
    'config show --theater demo --json',
    'config check ./config.json',
  ]);
}

async function showConfig(io: Io, options: ShowOptions): Promise<ExitCode> {
  const { env } = settingsOf(io.env, {
    ...(options.state !== undefined && { state: options.state }),
  });
  const place = options.run === undefined ? undefined : await runPlace(io, options.run, options);
  const settings = openSettings(env).explain({
    theaterId: place?.theaterId ?? options.theater,
    ...(place && { run: place.run }),
  });
  const shown = options.given ? settings.filter(({ source }) => source !== 'default') : settings;
  if (options.json) {
    io.out(JSON.stringify({ settings: shown }));
    return EXIT.ok;
  }
  const rows = shown.map(({ key, value, source, level }) => [key, textOf(value), source, level]);
  const heads = ['setting', 'value', 'from', 'may be set by'];
  io.out(
    table(heads, rows, { colours: io.colours.out, none: 'all settings are at their default' }),
  );
  return EXIT.ok;
}

async function runPlace(io: Io, run_id: string, options: ShowOptions) {
  const run = await connectTo(io, options).call(API.gateway.run, { run_id });
  return { theaterId: run.theater_id ?? undefined, run: (run.settings ?? {}) as RunOverrides };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function checkFile(io: Io, name: string, options: CheckOptions): ExitCode {
  const file = resolve(name);
  const given = checkSettingsFile(file, options.theater ? 'theater' : 'garrison');
  if (given === undefined) throw usage(`there is no file ${file}`, 'Name a settings file.');
  const count = Object.keys(given).length;
  const told = `${file} is valid: ${count} setting${count === 1 ? '' : 's'}`;
  io.out(options.json ? JSON.stringify({ file, settings: count }) : told);
  return EXIT.ok;
}
