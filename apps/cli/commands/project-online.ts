import { existsSync, writeFileSync } from 'node:fs';
import { API, isAppError } from '#libs/contracts';
import type { ComputedState, Finding, ProjectDocument, PublicJwk } from '#libs/projects';
import type { CallData } from '#libs/service';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { facts, printable, table } from '../format.ts';
import { type Io, paint } from '../io.ts';
import { type ConnectionOptions, connectTo } from '../options.ts';
import {
  type FileOptions,
  readJson,
  readText,
  tellFindings,
  tellHistory,
  verifyFile,
} from './project-file.ts';

// What asks a running system.

export type ProjectOptions = ConnectionOptions & { as?: string; revision?: string };
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
export type KeyOptions = ConnectionOptions & { new?: true; public?: string; trust?: string };

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

export async function list(io: Io, options: ProjectOptions & { plan?: string }): Promise<ExitCode> {
  const filter = options.plan === undefined ? {} : { plan_id: options.plan };
  const answer = await connectTo(io, options).call(API.projects.list, filter);
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const rows = answer.projects.map(({ project_id, name, revision, plan_id, governance_mode }) => [
    project_id,
    name,
    String(plan_id),
    String(governance_mode),
    revision,
  ]);
  const heads = ['project', 'name', 'plan', 'mode', 'revision'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'there are no projects' }));
  return EXIT.ok;
}

export async function status(io: Io, id: string, options: ProjectOptions): Promise<ExitCode> {
  const answer = await connectTo(io, options).call(API.projects.get, { project_id: id });
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const document = answer.document as unknown as ProjectDocument;
  const state = answer.state as unknown as ComputedState;
  const { name, plan_id, governance_mode, openclaw } = document;
  io.out(
    facts([
      ['project', `${answer.project_id} ${name}`],
      ['plan', `${plan_id}, ${governance_mode}`],
      ['revision', `${answer.revision}, ${answer.chain.entries} entries of history`],
      ['agents', openclaw.linkedAgentIds.length],
    ]),
  );
  const rows = state.phases.map(({ phase_id, gate, blocked_by, depth, artifacts }, index) => {
    const all = Object.values(artifacts);
    const complete = all.filter((one) => one.complete).length;
    const decision = document.phases[index]?.goNoGoDecision.status ?? 'pending';
    const shown = gate === 'decided' ? decision : gate;
    const done = `${complete}/${all.length}`;
    return [phase_id, document.phases[index]?.name, shown, done, depth, blocked_by.join(' ')];
  });
  const heads = ['phase', 'name', 'gate', 'complete', 'depth', 'locked by'];
  io.out(`\n${table(heads, rows, { colours: io.colours.out, none: 'no phases' })}`);
  return EXIT.ok;
}

export async function edit(
  io: Io,
  id: string,
  artifact: string,
  options: EditOptions,
): Promise<ExitCode> {
  const { rationale, notes, field = [] } = options;
  const values = Object.fromEntries(field.map(fieldOf));
  const input = {
    project_id: id,
    artifact_id: artifact,
    ...(rationale !== undefined && { rationale }),
    ...(notes !== undefined && { notes }),
    ...(field.length > 0 && { field_values: values }),
    ...said(options),
  };
  return tellDone(
    io,
    options,
    await connectTo(io, options).call(API.projects.updateArtifact, input),
  );
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
  artifact: string,
  options: WaiveOptions,
): Promise<ExitCode> {
  const { reason, remove } = options;
  if ((reason === undefined) === (remove === undefined)) {
    throw usage(
      'either --reason or --remove is needed',
      'Example: --reason "not built here, by contract"',
    );
  }
  const client = connectTo(io, options);
  const place = { project_id: id, artifact_id: artifact, ...said(options) };
  const done =
    reason === undefined
      ? await client.call(API.projects.removeWaiver, place)
      : await client.call(API.projects.applyWaiver, { ...place, rationale: reason });
  return tellDone(io, options, done);
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
  const place = { project_id: id, artifact_id: artifact, ...said(options) };
  if (text !== undefined) {
    const comment_type = type as 'advisory' | 'self-critique' | 'future-review';
    const input = { ...place, comment_type, content: text };
    return tellDone(io, options, await client.call(API.projects.addComment, input));
  }
  const endpoint = resolve === undefined ? API.projects.reopenComment : API.projects.resolveComment;
  const input = { ...place, comment_id: given[0] as string };
  return tellDone(io, options, await client.call(endpoint, input));
}

export async function history(
  io: Io,
  id: string,
  options: ProjectOptions & { decisions?: true; asOf?: string },
): Promise<ExitCode> {
  const client = connectTo(io, options);
  const { asOf } = options;
  if (asOf !== undefined) {
    const point = /^\d+$/.test(asOf) ? { seq: asOf } : { at: asOf };
    const answer = await client.call(API.projects.asOf, { project_id: id, ...point });
    io.out(JSON.stringify(options.json ? answer : answer.document, null, options.json ? 0 : 2));
    return EXIT.ok;
  }
  if (options.decisions) {
    const answer = await client.call(API.projects.decisions, { project_id: id });
    if (options.json) io.out(JSON.stringify(answer));
    else tellDecisions(io, answer.decisions);
    return EXIT.ok;
  }
  const answer = await client.call(API.projects.history, { project_id: id, limit: 1_000 });
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const rows = answer.events.map(({ seq, type, actor_id, timestamp, payload }) => {
    const { phase_id, artifact_id } = payload as { phase_id?: string; artifact_id?: string };
    return [seq, String(timestamp), type, actor_id, artifact_id ?? phase_id];
  });
  const heads = ['seq', 'when', 'what', 'who', 'where'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'nothing has happened' }));
  if (answer.next_cursor !== null) io.err(`there is more: only the first ${rows.length} are shown`);
  return EXIT.ok;
}

type Decisions = CallData<typeof API.projects.decisions>['decisions'];

function tellDecisions(io: Io, decisions: Decisions): void {
  const rows = decisions.map(({ phase_id, decision, actor_id, timestamp, notes }) => [
    phase_id,
    decision,
    String(actor_id),
    String(timestamp),
    String(notes),
  ]);
  const heads = ['phase', 'decision', 'who', 'when', 'why'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no gate was decided' }));
}

export async function exportBundle(
  io: Io,
  id: string,
  options: FileOptions & { sign?: true },
): Promise<ExitCode> {
  const input = { project_id: id, sign: options.sign ?? false };
  const answer = await connectTo(io, options).call(API.projects.export, input);
  const out = options.out ?? answer.filename;
  writeFileSync(out, answer.text);
  const { hash, key_id } = answer;
  if (options.json) io.out(JSON.stringify({ out, hash, key_id }));
  else
    io.out(`${out}: SHA-256 ${hash}${key_id === null ? '' : `, signed by ${key_id.slice(0, 16)}`}`);
  return EXIT.ok;
}

/** A file where there is one of that name, else a project of the running system. */
export async function verify(io: Io, at: string, options: FileOptions): Promise<ExitCode> {
  if (existsSync(at)) return verifyFile(io, at, options);
  const report = await connectTo(io, options).call(API.projects.verify, { project_id: at });
  if (options.json) io.out(JSON.stringify(report));
  else tellHistory(io, report);
  return report.valid ? EXIT.ok : EXIT.failed;
}

export async function keys(io: Io, options: KeyOptions): Promise<ExitCode> {
  const client = connectTo(io, options);
  if (options.public !== undefined) {
    const { public_jwk } = await client.call(API.projects.key, { key_id: options.public });
    io.out(JSON.stringify(public_jwk));
    return EXIT.ok;
  }
  if (options.trust !== undefined) {
    const public_jwk = readJson(options.trust) as PublicJwk;
    await client.call(API.projects.trustKey, { public_jwk });
  }
  if (options.new) await client.call(API.projects.rotateKey, {});
  const answer = await client.call(API.projects.keys, {});
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const rows = answer.keys.map(({ key_id, created_at, retired_at, signs }) => [
    key_id.slice(0, 16),
    created_at,
    signs ? 'signs' : `verifies since ${retired_at ?? created_at}`,
  ]);
  const none = 'no key was made yet: ironclaw project keys --new';
  io.out(table(['key', 'made', 'use'], rows, { colours: io.colours.out, none }));
  return EXIT.ok;
}
