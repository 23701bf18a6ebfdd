import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { API } from '#libs/contracts';
import type { CallData } from '#libs/service';
import type { Command } from 'commander';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  type Run,
  runningOn,
  withConnection,
  withExamples,
} from '../options.ts';
import type { Repository } from '../orchestrator/repository.ts';
import { keyOf } from './mission-boards.ts';
import { waitForEnd } from './mission-wait.ts';

type Where = ConnectionOptions & { project?: string; repo?: string };
type RunOptions = Where & {
  theater?: string;
  playbook?: string;
  review?: 'unit' | 'person';
  merge?: 'merge' | 'squash' | 'rebase' | 'none';
  stop?: true;
  wait?: true;
};
type RetryOptions = Where & { by?: string; note?: string };

/** `missions run|retry`: missions that the system executes itself. */
export function missionRunCommand(program: Command, run: Run, io: Io): void {
  const command =
    program.commands.find((known) => known.name() === 'missions') ??
    program.command('missions').summary('missions: run, retry');
  const add = (name: string, description: string): Command =>
    withConnection(command.command(name).description(description))
      .option('--project <uuid>', 'of this project; needed where several have such a mission')
      .option('--repo <dir>', 'a folder of the repository (SPECIFY_REPO_ROOT, the current folder)');
  add('run <mission>', 'Have a mission executed by this system, from planned to merged.')
    .option('--theater <id>', 'where the orders work (in a repository: a theater on it)')
    .option('--playbook <name>', 'how each work package is done')
    .option('--review <by>', 'unit: a second unit reviews (default); person: people do')
    .option('--merge <how>', 'merge (default), squash, rebase; none: others merge it')
    .option('--stop', 'begin and move on nothing more')
    .option('--wait', 'follow it to its end; exit code 0 only where it is merged, or as asked')
    .action((slug: string, options: RunOptions) => run(() => execute(io, slug, options)));
  add('retry <mission> [wp]', 'Bring a blocked work package back; without one, merge again.')
    .option('--by <person>', 'who wants it (IRONCLAW_USER, USER)')
    .option('--note <text>', 'why')
    .action((slug: string, wp: string | undefined, options: RetryOptions) =>
      run(() => retry(io, slug, wp, options)),
    );
  withExamples(command, [
    'missions run 064-my-mission --merge squash --wait',
    'missions retry 064-my-mission WP02 --note "the tests are there now"',
  ]);
}

async function execute(io: Io, slug: string, options: RunOptions): Promise<ExitCode> {
  const { playbook, review, merge, stop, wait, json } = options;
  if (stop && wait) throw usage('--stop and --wait contradict each other', 'Choose one.');
  const client = connectTo(io, options);
  const here = await repositoryOf(io, slug, options);
  if (here !== undefined && !stop) await register(io, slug, options, here);
  const key = await missionKey(io, slug, options, here);
  const theater = stop ? undefined : await theaterFor(io, options, here);
  const answer = await client.call(API.missions.run, {
    ...key,
    ...(theater !== undefined && { theater_id: theater.theater_id }),
    ...(playbook !== undefined && { playbook }),
    ...(review !== undefined && { review }),
    ...(merge !== undefined && { merge }),
    ...(stop !== undefined && { stop }),
  });
  const { active, next } = answer;
  const now = next.length === 0 ? 'nothing to do now' : `now: ${next.join(', ')}`;
  if (json) io.out(JSON.stringify({ ...answer, theater: theater ?? null }));
  else {
    io.out(active ? `${slug} is executed; ${now}` : `${slug} is no longer executed`);
    if (theater !== undefined) {
      io.out(`theater ${theater.theater_id}${theater.repo_path && ` on ${theater.repo_path}`}`);
    }
  }
  if (!wait) return EXIT.ok;
  const sync = () => mirror(io, slug, options, here);
  return waitForEnd(io, client, key, { json: json === true, sync });
}

async function retry(
  io: Io,
  slug: string,
  wp: string | undefined,
  options: RetryOptions,
): Promise<ExitCode> {
  const here = await repositoryOf(io, slug, options);
  const key = await missionKey(io, slug, options, here);
  const by = options.by ?? (io.env.IRONCLAW_USER || io.env.USER || 'operator');
  const answer = await connectTo(io, options).call(API.missions.retry, {
    ...key,
    by,
    ...(wp !== undefined && { wp_id: wp }),
    ...(options.note !== undefined && { note: options.note }),
  });
  const what = wp === undefined ? 'the merge is tried again' : `${wp} is planned again`;
  io.out(options.json ? JSON.stringify(answer) : `${slug}: ${what}, as ${by} asked`);
  return EXIT.ok;
}

/**
 * The repository whose mission this is. Undefined: there is none here, or the system is named by
 * its URL and may be on another machine, where this folder is not.
 */
async function repositoryOf(
  io: Io,
  slug: string,
  { repo, url }: Where,
): Promise<Repository | undefined> {
  const named = url ?? io.env.IRONCLAW_URL ?? '';
  if (repo === undefined && named !== '') return undefined;
  const { findRepository } = await import('../orchestrator/repository.ts');
  const found = findRepository(repo === undefined ? io.env : {}, repo ?? process.cwd());
  if (found !== undefined && existsSync(join(found.root, 'kitty-specs', slug))) return found;
  if (repo === undefined) return undefined;
  throw usage(`${repo} has no kitty-specs/${slug}`, 'Name a folder of the repository with --repo.');
}

/** Tells the system of what a mission's files hold, where its broker is one that we know. */
async function register(io: Io, slug: string, options: Where, here: Repository): Promise<void> {
  const isKnown = (io.env.NATS_URL ?? '') !== '' || runningOn(io, options.state).running;
  if (!isKnown) return;
  const { registerMission } = await import('../orchestrator/sync.ts');
  await registerMission(here, slug, envOf(io, options));
}

/** The key of a mission: of the repository's project, else looked for by its slug. */
async function missionKey(io: Io, slug: string, options: Where, here: Repository | undefined) {
  if (here === undefined || options.project !== undefined) return keyOf(io, slug, options);
  const { findCheckout } = await import('../checkout.ts');
  const { identity } = await findCheckout(here.root);
  return { project_uuid: identity.uuid, mission_slug: slug };
}

/** The mission's log is that of the system which the command talks to. */
function envOf(io: Io, { state }: Where): Io['env'] {
  return { ...io.env, IRONCLAW_STATE: runningOn(io, state).stateDir };
}

type Theater = Pick<CallData<typeof API.vault.openTheater>, 'theater_id' | 'repo_path'>;

/** Where the orders work: as told, else on the repository, for which one is opened if need be. */
async function theaterFor(
  io: Io,
  options: RunOptions,
  here: Repository | undefined,
): Promise<Theater | undefined> {
  const client = connectTo(io, options);
  if (options.theater !== undefined || here === undefined) {
    return options.theater === undefined
      ? undefined
      : { theater_id: options.theater, repo_path: '' };
  }
  const { root } = here;
  const digest = createHash('sha256').update(root).digest('hex').slice(0, 12);
  const theater_id = `repo_${digest}`;
  const { repo_path } = await client.call(API.vault.openTheater, { theater_id, repo_path: root });
  return { theater_id, repo_path };
}

/** Writes what the log knows into the files of the repository, where there is one here. */
async function mirror(
  io: Io,
  slug: string,
  options: RunOptions,
  here: Repository | undefined,
): Promise<string[]> {
  if (here === undefined) return [];
  const { syncMissions } = await import('../orchestrator/sync.ts');
  const [synced] = await syncMissions(here, slug, envOf(io, options));
  return synced?.written ?? [];
}
