import { invalid, isId, type ProjectPayload } from '#libs/contracts';
import { EMPTY_CHAIN } from './chain.ts';
import {
  draftFor,
  draftOn,
  type Author,
  nothing,
  type ProjectDecision,
  refuseDocument,
  refused,
} from './decision.ts';
import type { ProjectDocument } from './document.ts';
import { SCHEMA_VERSION } from './document.ts';
import { contextOf, type Engine } from './engine.ts';
import { mergeAudit } from './evolve.ts';
import { type Finding, finding, hasErrors } from './findings.ts';
import { asCopy, type CollisionChoice, type ReadProject } from './import.ts';
import { migrateProject } from './migrate.ts';
import { hashOf } from './canonical.ts';
import type { ProjectState } from './state.ts';
import { type JsonChange } from './diff.ts';
import { isObject } from './text.ts';
import { validateProject } from './validate.ts';
import { detectVersion } from './version.ts';

export type ImportProject = Author & {
  garrisonId: string;
  /** What `readProject` made of the text. */
  read: ReadProject;
  mode: 'strict' | 'lenient';
  /** What to do where the id is taken. Default: tell that it is. */
  onCollision?: CollisionChoice | undefined;
  /** Id of a copy (`keep-both`). */
  newId: string;
};

/** What an import comes to. `collision` and `cancelled` write nothing. */
export type ImportOutcome =
  | { status: 'success'; projectId: string; decision: ProjectDecision }
  | { status: 'collision'; projectId: string; choices: readonly CollisionChoice[] }
  | { status: 'cancelled'; projectId: string }
  | { status: 'invalid'; decision: ProjectDecision };

const CHOICES: readonly CollisionChoice[] = ['overwrite', 'keep-both', 'cancel'];

/**
 * Takes a project that was read into the store. `state` is the project of that id, if there is one;
 * nothing of it is overwritten until the caller has chosen so, and neither its audit log nor what is
 * immutable changes then.
 */
export function importProject(
  state: ProjectState | undefined,
  command: ImportProject,
): ImportOutcome {
  const { read, onCollision, newId } = command;
  const { project } = read;
  if (project === null) return { status: 'invalid', decision: refuseDocument(read.findings) };
  const { id: projectId } = project;
  if (state === undefined) return imported(command, project, { copyOf: null });
  if (onCollision === undefined) return { status: 'collision', projectId, choices: CHOICES };
  if (onCollision === 'cancel') return { status: 'cancelled', projectId };
  if (onCollision === 'keep-both') {
    if (!isId(newId) || newId === projectId) {
      return { status: 'invalid', decision: refused(invalid('new_id', 'must be another id')) };
    }
    return imported(command, asCopy(project, newId), { copyOf: projectId });
  }
  const findings = overwriteFindings(state.document, project);
  if (hasErrors(findings)) return { status: 'invalid', decision: refuseDocument(findings) };
  const audit_log = mergeAudit(state.document.audit_log, project.audit_log);
  if (hashOf({ ...project, audit_log }) === hashOf(state.document)) {
    return { status: 'success', projectId, decision: nothing(state) };
  }
  return imported(command, project, { copyOf: null, over: state });
}

function imported(
  command: ImportProject,
  project: ProjectDocument,
  { copyOf: copy_of, over }: { copyOf: string | null; over?: ProjectState },
): ImportOutcome {
  const { read, garrisonId: garrison_id, mode } = command;
  const { from, kind, integrity, changes } = read;
  const base = over ?? { chain: EMPTY_CHAIN, revision: 0, garrison_id };
  const draft = draftFor({ ...base, projectId: project.id }, command);
  const signature = integrity?.signature ?? 'absent';
  const history = integrity?.history;
  const payload: ProjectPayload<'PROJECT_IMPORTED'> = {
    document: draft.store(project),
    replaces: over !== undefined,
    kind,
    mode,
    from: from ?? SCHEMA_VERSION,
    source_hash: integrity?.computed_hash ?? hashOf(project),
    signature: signature === 'invalid' ? 'absent' : signature,
    key_id: integrity?.key_id ?? null,
    copy_of,
    ...(history && { history: { entries: history.entries, head: history.head } }),
  };
  draft.link('PROJECT_IMPORTED', payload);
  if (from !== null && from !== SCHEMA_VERSION) {
    draft.link('PROJECT_MIGRATED', { from, to: SCHEMA_VERSION, ...told(changes) });
  }
  return { status: 'success', projectId: project.id, decision: draft.done() };
}

/** What a document that takes another's place would change or lose. */
function overwriteFindings(own: ProjectDocument, next: ProjectDocument): Finding[] {
  const findings: Finding[] = [];
  for (const field of ['created', 'governance_mode'] as const) {
    if (own[field] !== next[field]) {
      findings.push(finding('IMMUTABLE_CHANGED', `$.${field}`, { field }));
    }
  }
  const phases = new Set(next.phases.map(({ id }) => String(id)));
  const artifacts = new Set(next.phases.flatMap((phase) => phase.artifacts.map(({ id }) => id)));
  for (const entry of mergeAudit(own.audit_log, next.audit_log)) {
    const { phase_id, artifact_id } = isObject(entry)
      ? entry
      : { phase_id: null, artifact_id: null };
    const lostPhase = phase_id != null && !phases.has(String(phase_id));
    const lostArtifact = artifact_id != null && !artifacts.has(String(artifact_id));
    if (!lostPhase && !lostArtifact) continue;
    const what = lostPhase ? `phase ${String(phase_id)}` : `artifact ${String(artifact_id)}`;
    findings.push(finding('AUDIT_SHORTENED', '$.audit_log', { what }));
  }
  return findings;
}

/** Brings a stored document to the schema of this engine; one that is there is done already. */
export function migrateStored(
  state: ProjectState,
  author: Author,
  engine: Engine,
): ProjectDecision {
  const { document } = state;
  if (detectVersion(document) === SCHEMA_VERSION) return nothing(state);
  const context = contextOf(engine, author.now);
  const migration = migrateProject(document, context);
  if (!migration.ok) return refuseDocument([migration.finding]);
  const { findings, ok } = validateProject(migration.document, { ...context, mode: 'lenient' });
  if (!ok) return refuseDocument(findings);
  const draft = draftOn(state, author);
  const ref = draft.store(migration.document);
  const { from, to, changes } = migration;
  return draft.link('PROJECT_MIGRATED', { from, to, ...told(changes), document: ref }).done();
}

/** Paths that an event names. */
const PATHS_TOLD = 100;

function told(changes: readonly JsonChange[]): { count: number; paths: string[] } {
  return { count: changes.length, paths: changes.slice(0, PATHS_TOLD).map(({ path }) => path) };
}
