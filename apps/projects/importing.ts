import { randomUUID } from 'node:crypto';
import { API, AppError, checkJson, invalid, parse } from '#libs/contracts';
import {
  acceptsByTime,
  type CollisionChoice,
  importProject,
  type ImportOutcome,
  knows,
  type ProjectDecision,
  type ProjectState,
  type ReadProject,
  readProject,
  readProjectValue,
} from '#libs/projects';
import type { Ctx } from '#libs/service';
import { authorOf, type Desk, doneBody, expectedOf, nowOf, tagged } from './desk.ts';

type Wanted = ReturnType<typeof checkImport>;

/** Takes a project in, as `importProject` has it. */
export async function takeIn(desk: Desk, input: unknown, ctx: Ctx) {
  const wanted = checkImport(input);
  const read = readWanted(desk, wanted);
  const { project } = read;
  const command = {
    ...authorOf(desk, wanted, ctx),
    garrisonId: desk.config.garrisonId,
    read,
    mode: wanted.mode,
    onCollision: wanted.on_collision,
    newId: wanted.new_id ?? randomUUID(),
  };
  if (project === null) throw errorOf(importProject(undefined, command));
  const standing = await desk.store.load(project.id);
  if (standing !== undefined && wanted.on_collision === 'cancel') {
    const told = { status: 'cancelled' as const, project_id: project.id, findings: read.findings };
    return tagged(told, standing.revision, 200);
  }
  const copied = standing !== undefined && wanted.on_collision === 'keep-both';
  const projectId = copied ? command.newId : project.id;
  const expected = copied ? undefined : expectedOf(wanted, ctx);
  const done = await desk.store.command(projectId, expected, (state) => {
    // Of a copy, the id that is taken is the first one's; its own is new.
    if (copied && state !== undefined) return exists(projectId);
    if (wanted.by_time && state !== undefined) demandNewer(state, read);
    const outcome = importProject(copied ? standing : state, command);
    if (outcome.status === 'success' || outcome.status === 'invalid') return outcome.decision;
    return exists(project.id, state);
  });
  return tagged(
    {
      status: 'success' as const,
      ...doneBody(done),
      findings: read.findings,
      kind: read.kind,
      from: read.from,
      changes: read.changes.length,
      signature: read.integrity?.signature ?? 'absent',
      key_id: read.integrity?.key_id ?? null,
      copy_of: copied ? project.id : null,
    },
    done.state.revision,
    done.events.length > 0 ? 201 : 200,
  );
}

/** The document has bounds of its own; everything beside it has those of any body. */
function checkImport(input: unknown) {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalid('body', 'must be a JSON object');
  }
  const { document, ...rest } = input as { document?: unknown };
  checkJson(rest, 'body');
  const wanted = parse(API.projects.import.input, rest);
  if ((document === undefined) === (wanted.text === undefined)) {
    throw invalid('document', 'either document or text is needed');
  }
  return { ...wanted, document };
}

function readWanted(desk: Desk, wanted: Wanted): ReadProject {
  const { config, engine, keys } = desk;
  const options = {
    engine,
    now: nowOf(desk),
    mode: wanted.mode,
    failFast: wanted.fail_fast,
    planRules: wanted.plan_rules,
    isKnownKey: knows(keys.read()),
    requireSignature: wanted.require_signature || config.projects.signaturesRequired,
  };
  if (wanted.text !== undefined) return readProject(wanted.text, options);
  return readProjectValue(wanted.document, options);
}

/** For clients that know times and no revisions. */
function demandNewer({ document, revision }: ProjectState, { project }: ReadProject): void {
  if (acceptsByTime(document.lastModified, project?.lastModified)) return;
  const params = { subject: document.id, actual: revision, expected: 'an older one' };
  throw new AppError('VERSION_CONFLICT', params, { details: { actual: revision, document } });
}

function errorOf(outcome: ImportOutcome): Error {
  const decision = outcome.status === 'invalid' ? outcome.decision : undefined;
  return decision?.ok === false ? decision.error : new Error(`an import that is ${outcome.status}`);
}

const CHOICES: readonly CollisionChoice[] = ['overwrite', 'keep-both', 'cancel'];

function exists(id: string, state?: ProjectState): ProjectDecision {
  const details = { choices: CHOICES, project_id: id, revision: state?.revision ?? 0 };
  const detail = { field: 'on_collision', details };
  return { ok: false, error: new AppError('PROJECT_EXISTS', { id }, detail) };
}
