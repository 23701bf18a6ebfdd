import { API } from '#libs/contracts';
import type { CallData } from '#libs/service';
import type { Command } from 'commander';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { ago, facts, printable, table } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  type Run,
  withConnection,
  withExamples,
} from '../options.ts';
import { listenForSignals } from '../signals.ts';

export type Entry = CallData<typeof API.missions.history>['history'][number];
export type Board = CallData<typeof API.missions.board>;
type PageOptions = ConnectionOptions & { project?: string; limit?: string; cursor?: string };
type ListOptions = PageOptions & { is?: 'open' | 'accepted' | 'merged' };
type WpOptions = PageOptions & { lane?: string; actor?: string };
type HistoryOptions = PageOptions & { wp?: string; type?: string; actor?: string };
type WatchOptions = ConnectionOptions & { project?: string; wp?: string; fromSeq?: string };

/** Projects that are named where several have a mission of that slug. */
const PROJECTS_NAMED = 20;

/** `missions list|show|wp|history|watch`: what a running system knows of missions. */
export function missionBoardsCommand(program: Command, run: Run, io: Io): void {
  const command =
    program.commands.find((known) => known.name() === 'missions') ??
    program.command('missions').summary('missions: list, show, wp, history, watch');
  const add = (name: string, description: string): Command =>
    withConnection(command.command(name).description(description)).option(
      '--project <uuid>',
      'of this project; needed where several have such a mission',
    );
  const paged = (one: Command): Command =>
    one
      .option('--limit <number>', 'at most so many', '100')
      .option('--cursor <cursor>', 'the next page of an earlier answer');
  paged(add('list', 'Missions and their work packages by lane.'))
    .option('--is <status>', 'open, accepted or merged')
    .action((options: ListOptions) => run(() => list(io, options)));
  add('show <mission>', 'One mission, and which work packages are in which lane.').action(
    (slug: string, options: PageOptions) => run(() => show(io, slug, options)),
  );
  paged(add('wp <mission> [wp]', 'The work packages of a mission, or one of them.'))
    .option('--lane <lane>', 'in this lane')
    .option('--actor <actor>', 'moved last by this actor')
    .action((slug: string, wp: string | undefined, options: WpOptions) =>
      run(() => workPackages(io, slug, wp, options)),
    );
  paged(add('history <mission>', 'The events of a mission, oldest first.'))
    .option('--wp <id>', 'of this work package')
    .option('--type <type>', 'of this type, as WPStatusChanged')
    .option('--actor <actor>', 'by this actor')
    .action((slug: string, options: HistoryOptions) => run(() => history(io, slug, options)));
  add('watch [mission]', 'Events of missions as they are stored, until Ctrl-C; JSON: one a line.')
    .option('--wp <id>', 'of this work package')
    .option('--from-seq <number>', 'from this sequence on')
    .action((slug: string | undefined, options: WatchOptions) =>
      run(() => watch(io, slug, options)),
    );
  withExamples(command, [
    'missions list --is open',
    'missions wp 064-my-mission --lane blocked',
    'missions watch 064-my-mission --json',
  ]);
}

/** The key of a mission; the project is looked up where it is not named. */
export async function keyOf(
  io: Io,
  mission_slug: string,
  options: ConnectionOptions & { project?: string },
) {
  if (options.project !== undefined) return { project_uuid: options.project, mission_slug };
  const client = connectTo(io, options);
  const limit = String(PROJECTS_NAMED);
  const found = await client.call(API.missions.boards, { mission_slug, limit });
  const [only, second] = found.missions;
  if (only === undefined) {
    throw usage(`no mission ${mission_slug} is known`, 'List them with ironclaw missions list.');
  }
  if (second === undefined) return { project_uuid: only.project_uuid, mission_slug };
  const ids = found.missions.map(({ project_uuid }) => project_uuid).join(', ');
  const more = found.next_cursor === null ? '' : ' and others';
  throw usage(`several projects have a mission ${mission_slug}`, `Use --project: ${ids}${more}.`);
}

function pageOf({ limit, cursor }: PageOptions): { limit?: string; cursor?: string } {
  return { ...(limit !== undefined && { limit }), ...(cursor !== undefined && { cursor }) };
}

/** What was asked for as JSON, or as the lines that `shown` makes, and where the next page is. */
function tell(io: Io, options: ConnectionOptions, answer: object, shown: () => string): ExitCode {
  io.out(options.json ? JSON.stringify(answer) : shown());
  const { next_cursor: next } = answer as { next_cursor?: string | null };
  if (!options.json && typeof next === 'string') io.err(`more: --cursor ${next}`);
  return EXIT.ok;
}

async function list(io: Io, options: ListOptions): Promise<ExitCode> {
  const answer = await connectTo(io, options).call(API.missions.boards, {
    ...pageOf(options),
    ...(options.project !== undefined && { project_uuid: options.project }),
    ...(options.is !== undefined && { status: options.is }),
  });
  const now = Date.now();
  const rows = answer.missions.map((one) => [
    one.mission_slug,
    one.status,
    lanesLine(one.lanes),
    ago(one.updated_at, now),
    one.project_uuid,
  ]);
  const heads = ['mission', 'status', 'work packages', 'changed', 'project'];
  const look = { colours: io.colours.out, none: 'no missions' };
  return tell(io, options, answer, () => table(heads, rows, look));
}

async function show(io: Io, slug: string, options: PageOptions): Promise<ExitCode> {
  const key = await keyOf(io, slug, options);
  const one = await connectTo(io, options).call(API.missions.board, key);
  const lanes = Object.entries(one.in_lane).filter(([, ids]) => ids.length > 0);
  return tell(io, options, one, () =>
    facts([
      ['mission', one.mission_slug],
      ['number', one.mission_number],
      ['type', one.mission_type],
      ['project', one.project_uuid],
      ['target', one.target_branch],
      ['status', one.status],
      ['created', one.created_at],
      ['changed', one.updated_at],
      ['events', String(one.events)],
      ...runFacts(one),
      ...lanes.map(([lane, ids]): [string, string] => [lane, ids.join(', ')]),
    ]),
  );
}

/** What is told of a mission that the system executes. */
export function runFacts({
  run,
  merged,
  merge_refused: refused,
}: Board): [string, string | null][] {
  const { errors = [], at } = refused ?? {};
  return [
    ['run', run && `${run.standing}, review by ${run.review}, merge: ${run.merge}`],
    ['theater', run && run.theater_id],
    ['merged', merged && `${merged.commit} on ${merged.target_branch} (${merged.strategy})`],
    ['refused', run?.standing === 'merge refused' ? `${at}: ${errors.join('; ')}` : null],
  ];
}

async function workPackages(
  io: Io,
  slug: string,
  wp: string | undefined,
  options: WpOptions,
): Promise<ExitCode> {
  const key = await keyOf(io, slug, options);
  const answer = await connectTo(io, options).call(API.missions.workPackages, {
    ...key,
    ...pageOf(options),
    ...(wp !== undefined && { wp_id: wp }),
    ...(options.lane !== undefined && { lane: options.lane }),
    ...(options.actor !== undefined && { actor: options.actor }),
  });
  const rows = answer.work_packages.map((one) => [
    one.wp_id,
    one.lane,
    one.last_actor,
    one.dependencies.join(', '),
    one.title,
    one.lane === 'blocked' ? one.last_reason : '',
  ]);
  const look = { colours: io.colours.out, none: 'no work packages' };
  const heads = ['id', 'lane', 'actor', 'waits for', 'title', 'why'];
  return tell(io, options, answer, () => table(heads, rows, look));
}

async function history(io: Io, slug: string, options: HistoryOptions): Promise<ExitCode> {
  const key = await keyOf(io, slug, options);
  const answer = await connectTo(io, options).call(API.missions.history, {
    ...key,
    ...pageOf(options),
    ...(options.wp !== undefined && { wp_id: options.wp }),
    ...(options.type !== undefined && { event_type: options.type }),
    ...(options.actor !== undefined && { actor: options.actor }),
  });
  return tell(io, options, answer, () => answer.history.map(lineOf).join('\n') || 'no events');
}

async function watch(io: Io, slug: string | undefined, options: WatchOptions): Promise<ExitCode> {
  const { project, wp, fromSeq } = options;
  const filter = {
    ...(project !== undefined && { project_uuid: project }),
    ...(slug !== undefined && { mission_slug: slug }),
    ...(wp !== undefined && { wp_id: wp }),
    ...(fromSeq !== undefined && { from_seq: fromSeq }),
  };
  const signals = listenForSignals();
  const stream = connectTo(io, options).follow(API.missions.stream, filter, signals.stop);
  for await (const entry of stream) {
    io.out(options.json ? JSON.stringify(entry) : lineOf(entry as unknown as Entry));
  }
  signals.release();
  return EXIT.ok;
}

function lanesLine(lanes: Record<string, number>): string {
  const filled = Object.entries(lanes).filter(([, count]) => count > 0);
  return filled.map(([lane, count]) => `${count} ${lane}`).join(', ');
}

/** One event on one line. */
export function lineOf({ seq, timestamp, event_type, wp_id, actor, event }: Entry): string {
  const payload = (event.payload ?? {}) as Record<string, unknown>;
  const { from_lane, to_lane, entry_content, error_message, reason } = payload;
  const { artifact_path, external_issue_key } = payload;
  const change = typeof to_lane === 'string' ? `${String(from_lane)} -> ${to_lane}` : undefined;
  const text = entry_content ?? error_message ?? reason ?? artifact_path ?? external_issue_key;
  const note = typeof text === 'string' ? text.slice(0, 200) : undefined;
  const parts = [String(seq), timestamp, event_type, wp_id, change, actor, note];
  return printable(parts.filter((part) => part !== undefined && part !== null).join('  '));
}
