import { API, AppError, isAppError } from '#libs/contracts';
import type { Finding, ProjectDocument } from '#libs/projects';
import type { CallData } from '#libs/service';
import type { Client } from '../client.ts';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { printable } from '../format.ts';
import { type Io, paint } from '../io.ts';
import { connectTo } from '../options.ts';
import { type FileOptions, readText, tellFindings } from './project-file.ts';
import type { ProjectOptions } from './project-reads.ts';

// What changes a project of a running system.

export type MakeOptions = ProjectOptions & {
  id?: string;
  plan: string;
  mode: string;
  device?: string;
  description?: string;
};

export type ImportOptions = ProjectOptions & FileOptions & { onCollision?: string };

export type EditOptions = ProjectOptions & { rationale?: string; notes?: string; field?: string[] };

export type GateOptions = ProjectOptions & { go?: boolean; notes?: string; reopen?: string };

export type WaiveOptions = ProjectOptions & { reason?: string; remove?: true };

export type CommentOptions = ProjectOptions & { type: string; resolve?: string; reopen?: string };

type Done = CallData<typeof API.projects.update>;

/** Who does it and on which revision, as every command takes it. */
function said({ as, revision }: ProjectOptions) {
  return {
    ...(as !== undefined && { actor_id: as }),
    ...(revision !== undefined && { expected_revision: revision }),
  };
}

function tellDone(io: Io, options: ProjectOptions, done: Done): ExitCode {
  if (options.json) {
    io.out(JSON.stringify(done));
    return EXIT.ok;
  }
  const { project_id, revision, changed, warnings } = done;
  io.out(`${project_id} is at revision ${revision}${changed ? '' : '; it was so already'}`);
  for (const { message } of warnings)
    io.err(`${paint(io.colours.err, 'yellow', 'note:')} ${message}`);
  return EXIT.ok;
}

export async function make(io: Io, name: string, options: MakeOptions): Promise<ExitCode> {
  const { id, plan, mode, device, description, as } = options;
  const input = {
    name,
    plan_id: plan,
    governance_mode: mode as 'solo' | 'team',
    ...(id !== undefined && { project_id: id }),
    ...(device !== undefined && { device_id: device }),
    ...(description !== undefined && { description }),
    ...(as !== undefined && { actor_id: as }),
  };
  return tellDone(io, options, await connectTo(io, options).call(API.projects.create, input));
}

export async function importFile(io: Io, file: string, options: ImportOptions): Promise<ExitCode> {
  const text = readText(file);
  const { onCollision, lenient, planRules = false, requireSignature = false } = options;
  const input = {
    text,
    mode: lenient ? ('lenient' as const) : ('strict' as const),
    plan_rules: planRules,
    require_signature: requireSignature,
    ...(onCollision !== undefined && {
      on_collision: onCollision as 'overwrite' | 'keep-both' | 'cancel',
    }),
    ...said(options),
  };
  const client = connectTo(io, options);
  let answer: CallData<typeof API.projects.import>;
  try {
    answer = await client.call(API.projects.import, input);
  } catch (error) {
    if (options.json || !isAppError(error, 'PROJECT_INVALID')) throw error;
    tellFindings(io, (error.details?.findings ?? []) as Finding[], `${file} is not taken`);
    return EXIT.failed;
  }
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const { project_id, status, revision, signature } = answer;
  const where = status === 'success' ? `is at revision ${String(revision)}` : 'is as it was';
  const title = `${project_id} ${where}, signature ${typeof signature === 'string' ? signature : '-'}`;
  tellFindings(io, answer.findings as Finding[], title);
  return EXIT.ok;
}

/** The id of an artifact that is named by its id, or by phase and place as `1.2`. */
async function artifactOf(client: Client, projectId: string, named: string): Promise<string> {
  // An id needs no looking up: the command itself tells where there is none.
  if (!named.includes('.')) return named;
  const [id = named] = await artifactsOf(client, projectId, [named]);
  return id;
}

/** @throws {PROJECT_PART_NOT_FOUND} for any of them, before anything is done */
async function artifactsOf(
  client: Client,
  projectId: string,
  names: readonly string[],
): Promise<string[]> {
  const answer = await client.call(API.projects.get, { project_id: projectId });
  const { phases } = answer.document as unknown as ProjectDocument;
  return names.map((named) => {
    if (phases.some(({ artifacts }) => artifacts.some(({ id }) => id === named))) return named;
    const [, phaseId, place] = /^(.+)\.([1-9]\d{0,4})$/.exec(named) ?? [];
    const phase = phases.find(({ id }) => String(id) === phaseId);
    const id = phase?.artifacts[Number(place) - 1]?.id;
    if (id !== undefined) return id;
    const params = { id: projectId, what: 'artifact', part: named };
    throw new AppError('PROJECT_PART_NOT_FOUND', params, { field: 'artifact_id' });
  });
}

export async function edit(
  io: Io,
  id: string,
  artifact: string,
  options: EditOptions,
): Promise<ExitCode> {
  const client = connectTo(io, options);
  const { rationale, notes, field = [] } = options;
  const values = Object.fromEntries(field.map(fieldOf));
  const input = {
    project_id: id,
    artifact_id: await artifactOf(client, id, artifact),
    ...(rationale !== undefined && { rationale }),
    ...(notes !== undefined && { notes }),
    ...(field.length > 0 && { field_values: values }),
    ...said(options),
  };
  return tellDone(io, options, await client.call(API.projects.updateArtifact, input));
}

/** `id=value`: JSON where the value is some, else text. */
function fieldOf(text: string): [string, unknown] {
  const at = text.indexOf('=');
  if (at < 1) throw usage(`--field ${text} is not id=value`, 'Example: --field owner=kim');
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), JSON.parse(value) as unknown];
  } catch {
    // What is no JSON is text, as it was typed.
    return [text.slice(0, at), value];
  }
}

export async function gate(
  io: Io,
  id: string,
  phase: string,
  options: GateOptions,
): Promise<ExitCode> {
  const client = connectTo(io, options);
  const place = { project_id: id, phase_id: phase };
  const { go, notes = '', reopen } = options;
  if (go !== undefined && reopen !== undefined) {
    throw usage('a gate is decided or reopened, not both', 'Give --go, --no-go or --reopen.');
  }
  if (reopen !== undefined) {
    const input = { ...place, reason: reopen, ...said(options) };
    return tellDone(io, options, await client.call(API.projects.reopenGate, input));
  }
  if (go !== undefined) {
    const decision = go ? ('go' as const) : ('no-go' as const);
    const input = { ...place, decision, notes, ...said(options) };
    return tellDone(io, options, await client.call(API.projects.decideGate, input));
  }
  const answer = await client.call(API.projects.gate, place);
  if (options.json) io.out(JSON.stringify(answer));
  else {
    const { gate: standing, blocked_by, decision } = answer;
    const locked = blocked_by.length > 0 ? `, locked by ${blocked_by.join(', ')}` : '';
    io.out(printable(`phase ${phase}: ${standing}${locked}; decision ${decision.status}`));
  }
  return EXIT.ok;
}

export async function waive(
  io: Io,
  id: string,
  artifacts: readonly string[],
  options: WaiveOptions,
): Promise<ExitCode> {
  const { reason, remove } = options;
  if ((reason === undefined) === (remove === undefined)) {
    const example = 'Example: --reason "not built here, by contract"';
    throw usage('either --reason or --remove is needed', example);
  }
  if (artifacts.length > 1 && options.revision !== undefined) {
    throw usage('--revision is of one change', 'Name one artifact with it.');
  }
  const client = connectTo(io, options);
  for (const artifact_id of await artifactsOf(client, id, artifacts)) {
    const place = { project_id: id, artifact_id, ...said(options) };
    const done =
      reason === undefined
        ? await client.call(API.projects.removeWaiver, place)
        : await client.call(API.projects.applyWaiver, { ...place, rationale: reason });
    tellDone(io, options, done);
  }
  return EXIT.ok;
}

export async function comment(
  io: Io,
  id: string,
  artifact: string,
  text: string | undefined,
  options: CommentOptions,
): Promise<ExitCode> {
  const { type, resolve, reopen } = options;
  const given = [text, resolve, reopen].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw usage(
      'one of text, --resolve and --reopen is needed',
      'See: ironclaw project comment --help',
    );
  }
  const client = connectTo(io, options);
  const artifact_id = await artifactOf(client, id, artifact);
  const place = { project_id: id, artifact_id, ...said(options) };
  if (text !== undefined) {
    const comment_type = type as 'advisory' | 'self-critique' | 'future-review';
    const input = { ...place, comment_type, content: text };
    return tellDone(io, options, await client.call(API.projects.addComment, input));
  }
  const endpoint = resolve === undefined ? API.projects.reopenComment : API.projects.resolveComment;
  const input = { ...place, comment_id: given[0] as string };
  return tellDone(io, options, await client.call(endpoint, input));
}
