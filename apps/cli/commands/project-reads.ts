import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { API, AppError } from '#libs/contracts';
import type { ComputedState, ProjectDocument, PublicJwk } from '#libs/projects';
import type { CallData } from '#libs/service';
import { EXIT, type ExitCode } from '../failure.ts';
import { facts, table } from '../format.ts';
import type { Io } from '../io.ts';
import { type ConnectionOptions, connectTo } from '../options.ts';
import { type FileOptions, readJson, tellHistory, verifyFile } from './project-file.ts';

// What asks a running system and changes no project.

export type ProjectOptions = ConnectionOptions & { as?: string; revision?: string };

export type KeyOptions = ConnectionOptions & { new?: true; public?: string; trust?: string };

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

export async function status(
  io: Io,
  id: string,
  phase: string | undefined,
  options: ProjectOptions,
): Promise<ExitCode> {
  const answer = await connectTo(io, options).call(API.projects.get, { project_id: id });
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const document = answer.document as unknown as ProjectDocument;
  const state = answer.state as unknown as ComputedState;
  if (phase !== undefined) return tellPhase(io, document, state, phase);
  const { name, plan_id, governance_mode, openclaw } = document;
  io.out(
    facts([
      ['project', `${answer.project_id} ${name}`],
      ['plan', `${plan_id}, ${governance_mode}`],
      ['revision', `${answer.revision}, ${answer.chain.entries} entries of history`],
      ['agents', openclaw.linkedAgentIds.length],
    ]),
  );
  const rows = state.phases.map(({ phase_id, gate: standing, blocked_by, artifacts }, index) => {
    const all = Object.values(artifacts);
    const complete = all.filter((one) => one.complete).length;
    const decision = document.phases[index]?.goNoGoDecision.status ?? 'pending';
    const shown = standing === 'decided' ? decision : standing;
    const places = blocked_by.map((one) => placeIn(document, one));
    const done = `${complete}/${all.length}`;
    return [phase_id, document.phases[index]?.name, shown, done, places.join(' ')];
  });
  const heads = ['phase', 'name', 'gate', 'complete', 'locked by'];
  io.out(`\n${table(heads, rows, { colours: io.colours.out, none: 'no phases' })}`);
  return EXIT.ok;
}

function tellPhase(
  io: Io,
  document: ProjectDocument,
  state: ComputedState,
  phaseId: string,
): ExitCode {
  const index = document.phases.findIndex(({ id }) => String(id) === phaseId);
  const phase = document.phases[index];
  if (phase === undefined) {
    const params = { id: document.id, what: 'phase', part: phaseId };
    throw new AppError('PROJECT_PART_NOT_FOUND', params);
  }
  const rows = phase.artifacts.map(({ id, name, isGateBlocking }, at) => [
    `${phaseId}.${at + 1}`,
    name,
    state.phases[index]?.artifacts[id]?.status,
    isGateBlocking ? 'blocks the gate' : '',
    id,
  ]);
  const heads = ['artifact', 'name', 'status', '', 'id'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no artifacts' }));
  return EXIT.ok;
}

/** Where an artifact stands, as `1.2`; its id where it is not there. */
function placeIn({ phases }: ProjectDocument, id: string): string {
  for (const { id: phase, artifacts } of phases) {
    const at = artifacts.findIndex((one) => one.id === id);
    if (at >= 0) return `${phase}.${at + 1}`;
  }
  return id;
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
  mkdirSync(dirname(out), { recursive: true });
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
