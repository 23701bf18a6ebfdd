import { randomUUID } from 'node:crypto';
import { API, AppError, checkJson, invalid, parse } from '#libs/contracts';
import {
  acceptsByTime,
  importProject,
  type ImportOutcome,
  knows,
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
  const standing = project === null ? undefined : await desk.store.load(project.id);
  const outcome = importProject(standing, command);
  if (outcome.status === 'invalid') throw errorOf(outcome);
  if (outcome.status === 'cancelled') {
    return tagged(
      { status: 'cancelled' as const, project_id: outcome.projectId, findings: read.findings },
      standing?.revision ?? 0,
      200,
    );
  }
  if (outcome.status === 'collision') throw collision(outcome, standing);
  const { projectId } = outcome;
  const copied = projectId !== project?.id;
  const expected = copied ? undefined : expectedOf(wanted, ctx);
  const done = await desk.store.command(projectId, expected, (state) => {
    // Of a copy, the id that is taken is the first one's; its own is new.
    const over = copied ? standing : state;
    if (copied && state !== undefined) {
      return { ok: false, error: new AppError('PROJECT_EXISTS', { id: projectId }) };
    }
    if (wanted.by_time && state !== undefined) demandNewer(state, read);
    const again = importProject(over, command);
    if (again.status === 'success' || again.status === 'invalid') return again.decision;
    throw again.status === 'collision' ? collision(again, state) : new Error(again.status);
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
      copy_of: copied ? (project?.id ?? null) : null,
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

function errorOf({ decision }: ImportOutcome & { status: 'invalid' }): Error {
  return decision.ok ? new Error('a decision without an error') : decision.error;
}

function collision(
  { projectId, choices }: ImportOutcome & { status: 'collision' },
  state: ProjectState | undefined,
): AppError {
  const details = { choices, project_id: projectId, revision: state?.revision ?? 0 };
  return new AppError('PROJECT_EXISTS', { id: projectId }, { field: 'on_collision', details });
}
