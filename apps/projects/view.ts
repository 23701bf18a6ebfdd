import type { DatabaseSync } from 'node:sqlite';
import { invalid } from '#libs/contracts';
import { evolveProject, isChainEvent, type ProjectState } from '#libs/projects';
import { createRecent, type Reader, type SqlValue, type View } from '#libs/projections';
import type { ProjectRecord } from './events.ts';

/** What agents have told stands apart: their signs of life leave the document's row alone. */
const TABLES = `
  CREATE TABLE projects (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, plan_id TEXT NOT NULL,
    governance_mode TEXT NOT NULL, created TEXT NOT NULL, last_modified TEXT NOT NULL,
    last_saved_from TEXT NOT NULL, revision INTEGER NOT NULL, state TEXT NOT NULL
  );
  CREATE INDEX projects_plan ON projects (plan_id);
  CREATE TABLE project_agents (
    id TEXT PRIMARY KEY, seq INTEGER NOT NULL, openclaw TEXT NOT NULL
  ) WITHOUT ROWID;
`;

/** Characters of the states that are held between batches; twice this at most. */
const RECENT_CHARS = 16_000_000;
/** Characters of the states that one batch loads before they are written back. */
const TOUCHED_CHARS = 16_000_000;

type Held = {
  state: ProjectState;
  /** Characters of the row, as last written or read. */
  chars: number;
  /** Sequence of the first event, the key of the row. */
  key: number;
};
type Touched = Held & { chain: boolean };

function statements(db: DatabaseSync) {
  return {
    load: db.prepare(
      `SELECT p.seq, p.state, a.openclaw, a.seq AS agents_seq
       FROM projects p JOIN project_agents a ON a.id = p.id WHERE p.id = ?`,
    ),
    project: db.prepare(
      `INSERT INTO projects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (seq) DO UPDATE SET name = excluded.name, plan_id = excluded.plan_id,
         last_modified = excluded.last_modified, last_saved_from = excluded.last_saved_from,
         revision = excluded.revision, state = excluded.state`,
    ),
    agents: db.prepare(
      `INSERT INTO project_agents VALUES (?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, openclaw = excluded.openclaw`,
    ),
  };
}

/** Every project as it stands: for lists, and where commands go on from. */
export const projectsView: View<ProjectRecord> = {
  name: 'projects',
  version: 1,
  create: (db) => db.exec(TABLES),
  open(db) {
    const sql = statements(db);
    const recent = createRecent<string, Held>(RECENT_CHARS);
    let touched = new Map<string, Touched>();
    let touchedChars = 0;

    const find = (id: string): Held | undefined => {
      const held = touched.get(id) ?? recent.get(id);
      if (held !== undefined) return held;
      const row = sql.load.get(id);
      if (row === undefined) return undefined;
      const { state, openclaw, agents_seq, seq } = row;
      touchedChars += lengthOf(state);
      return {
        state: stateOf(state, openclaw, agents_seq),
        chars: lengthOf(state),
        key: Number(seq),
      };
    };
    const write = (id: string, { state, chain, chars, key }: Touched): void => {
      let length = chars;
      if (chain) {
        const text = JSON.stringify(rowState(state));
        length = text.length;
        sql.project.run(key, id, ...columnsOf(state), text);
      }
      sql.agents.run(id, state.seq, JSON.stringify(state.document.openclaw));
      recent.set(id, { state, chars: length, key }, length);
    };
    const flush = (): void => {
      const all = touched;
      touched = new Map();
      touchedChars = 0;
      for (const [id, entry] of all) write(id, entry);
    };
    return {
      apply({ events }) {
        for (const { event, document } of events) {
          const id = event.project_id;
          const before = find(id);
          const state = evolveProject(before?.state, event, () => document);
          if (state === undefined || state === before?.state) continue;
          const chain = isChainEvent(event) || (touched.get(id)?.chain ?? false);
          touched.set(id, {
            state,
            chain,
            chars: before?.chars ?? 0,
            key: before?.key ?? event.seq,
          });
          if (touchedChars > TOUCHED_CHARS) flush();
        }
        flush();
        return undefined;
      },
      forget() {
        touched = new Map();
        touchedChars = 0;
        recent.clear();
      },
    };
  },
};

/** Without what agents told: that has a row of its own. */
function rowState(state: ProjectState): ProjectState {
  const { openclaw: _agents, ...document } = state.document;
  return { ...state, seq: state.revision, document: document as ProjectState['document'] };
}

function stateOf(state: unknown, openclaw: unknown, agentsSeq: unknown): ProjectState {
  const read = JSON.parse(String(state)) as ProjectState;
  const agents = JSON.parse(String(openclaw)) as ProjectState['document']['openclaw'];
  const seq = Math.max(read.seq, Number(agentsSeq));
  return { ...read, seq, document: { ...read.document, openclaw: agents } };
}

function columnsOf({ document, revision }: ProjectState): SqlValue[] {
  const { name, plan_id, governance_mode, created, lastModified, lastSavedFrom } = document;
  return [name, plan_id, governance_mode, created, lastModified, lastSavedFrom, revision];
}

function lengthOf(text: unknown): number {
  return typeof text === 'string' ? text.length : 0;
}

/** A project as the view has it, to go on from; undefined: it has none. */
export function snapshotOf(reader: Reader, id: string) {
  const row = reader.get<{ state: string; openclaw: string; agents_seq: number }>(
    `SELECT p.state, a.openclaw, a.seq AS agents_seq
     FROM projects p JOIN project_agents a ON a.id = p.id WHERE p.id = ?`,
    id,
  );
  if (row === undefined) return undefined;
  const { state, openclaw, agents_seq } = row;
  return { state: stateOf(state, openclaw, agents_seq), weight: state.length + openclaw.length };
}

type Filter = {
  plan_id?: string | undefined;
  governance_mode?: string | undefined;
  limit: number;
  cursor?: string | undefined;
};
type ProjectRow = { seq: number; project_id: string; name: string; revision: number };

/** A page of projects, oldest first. */
export function listProjects(reader: Reader, { plan_id, governance_mode, limit, cursor }: Filter) {
  const rows = reader.all<ProjectRow>(
    `SELECT seq, id AS project_id, name, plan_id, governance_mode, created,
       last_modified AS lastModified, last_saved_from AS lastSavedFrom, revision FROM projects
     WHERE seq > ? AND (? IS NULL OR plan_id = ?) AND (? IS NULL OR governance_mode = ?)
     ORDER BY seq LIMIT ?`,
    afterOf(cursor),
    plan_id ?? null,
    plan_id ?? null,
    governance_mode ?? null,
    governance_mode ?? null,
    limit + 1,
  );
  const page = rows.slice(0, limit);
  const last = page.at(-1)?.seq ?? 0;
  return {
    projects: page.map(({ seq: _seq, ...project }) => project),
    next_cursor: rows.length > limit ? String(last) : null,
    as_of: reader.seq,
  };
}

/** The sequence that a cursor stands for. @throws {INVALID_REQUEST} */
export function afterOf(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  if (/^[1-9]\d{0,14}$/.test(cursor)) return Number(cursor);
  throw invalid('cursor', 'is none that this list gave');
}
