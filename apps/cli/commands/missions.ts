import { invalid } from '#libs/contracts';
import type { Command } from 'commander';
import { EXIT, type ExitCode } from '../failure.ts';
import type { Io } from '../io.ts';
import { type Run, withExamples, withJson } from '../options.ts';
import type { Repository } from '../orchestrator/repository.ts';

type RepoOptions = { json?: true; repo?: string };

/** `missions`: the files and the broker of the repository that missions live in. */
export function missionsCommand(program: Command, run: Run, io: Io) {
  const command =
    program.commands.find((known) => known.name() === 'missions') ??
    program.command('missions').summary('missions of a repository: their files, their broker');
  const add = (name: string, description: string): Command =>
    withJson(command.command(name).description(description)).option(
      '--repo <dir>',
      'a folder of the repository (SPECIFY_REPO_ROOT, the current folder)',
    );
  add('sync [mission]', 'Write what the log knows into the files of a mission, or of all.').action(
    (mission: string | undefined, options: RepoOptions) => run(() => sync(io, mission, options)),
  );
  add('stop', 'Stop what commands have started for the repository.').action(
    (options: RepoOptions) => run(() => stop(io, options)),
  );
  withExamples(command, ['missions sync 064-my-mission', 'missions stop']);
}

/** These load only when a mission is what it is about. */
async function findHere(io: Io, { repo }: RepoOptions): Promise<Repository> {
  const { findRepository } = await import('../orchestrator/repository.ts');
  const found = findRepository(repo === undefined ? io.env : {}, repo ?? process.cwd());
  if (found === undefined) throw invalid('repo', 'lies in no git repository');
  return found;
}

async function sync(io: Io, mission: string | undefined, options: RepoOptions): Promise<ExitCode> {
  const repository = await findHere(io, options);
  const { syncMissions } = await import('../orchestrator/sync.ts');
  const missions = await syncMissions(repository, mission, io.env);
  if (options.json) io.out(JSON.stringify({ missions }));
  else {
    for (const { mission_slug, written } of missions) {
      io.out(`${mission_slug}: ${written.length === 0 ? 'nothing to do' : written.join(', ')}`);
    }
  }
  return EXIT.ok;
}

async function stop(io: Io, options: RepoOptions): Promise<ExitCode> {
  const repository = await findHere(io, options);
  const { stopHome } = await import('../orchestrator/sync.ts');
  const stopped = await stopHome(repository.gitDir);
  if (options.json) io.out(JSON.stringify({ stopped }));
  else {
    const lines = Object.entries(stopped).map(([what, pid]) => `${what} stopped (pid ${pid})`);
    io.out(lines.length === 0 ? 'nothing runs for this repository' : lines.join('\n'));
  }
  return EXIT.ok;
}
