import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { API, AppError, invalid, LIMITS } from '#libs/contracts';
import {
  contextOf,
  diffValues,
  EMPTY_RING,
  type Finding,
  isBundle,
  type JsonChange,
  type KeyRing,
  knows,
  migrateProject,
  readKeyRing,
  readProject,
  verifyProject,
} from '#libs/projects';
import { loadEngine, stateLayout } from '#libs/runtime';
import { settingsOf } from '../env.ts';
import { EXIT, type ExitCode } from '../failure.ts';
import { clip, printable, table } from '../format.ts';
import { type Io, paint } from '../io.ts';
import { type ConnectionOptions, connectTo } from '../options.ts';

// What is done with files alone: no broker is asked, no role has to run.

export type FileOptions = ConnectionOptions & {
  lenient?: true;
  failFast?: true;
  planRules?: true;
  requireSignature?: true;
  out?: string;
  history?: true;
};

const VALUE_CHARS = 60;

/** The rules and settings of this garrison. */
function surroundings(io: Io, { state }: FileOptions) {
  const { config } = settingsOf(io.env, { ...(state !== undefined && { state }) });
  return { config, engine: loadEngine(config.planDirs) };
}

/** Keys that may vouch: those of the state folder. None is there before one was made or trusted. */
function keysOf(io: Io, options: FileOptions): KeyRing {
  const { config } = surroundings(io, options);
  try {
    return readKeyRing(JSON.parse(readFileSync(stateLayout(config.stateDir).projectKeys, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return EMPTY_RING;
    throw error;
  }
}

/** @throws {INVALID_REQUEST} it cannot be read · {PAYLOAD_TOO_LARGE} */
export function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > LIMITS.projectBytes) {
      throw new AppError('PAYLOAD_TOO_LARGE', { what: file, limit: LIMITS.projectBytes });
    }
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw invalid('file', `${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

/** @throws {INVALID_JSON} */
export function readJson(file: string): unknown {
  try {
    return JSON.parse(readText(file));
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('INVALID_JSON', { reason: `${file}: ${(error as Error).message}` });
  }
}

/** The project in a file: a bundle's, or the whole of it. */
function projectIn(file: string): unknown {
  const value = readJson(file);
  return isBundle(value) ? value.project : value;
}

export async function validate(io: Io, file: string, options: FileOptions): Promise<ExitCode> {
  const { engine } = surroundings(io, options);
  const read = readProject(readText(file), {
    engine,
    now: new Date().toISOString(),
    mode: options.lenient ? 'lenient' : 'strict',
    failFast: options.failFast ?? false,
    planRules: options.planRules ?? false,
    isKnownKey: knows(keysOf(io, options)),
    requireSignature: options.requireSignature ?? false,
  });
  const { ok, findings, kind, from, integrity } = read;
  if (options.json) {
    const signature = integrity?.signature ?? 'absent';
    io.out(JSON.stringify({ ok, kind, from, findings, signature, changes: read.changes }));
  } else tellFindings(io, findings, `${file}: a ${kind} of schema ${from ?? '(unknown)'}`);
  return ok ? EXIT.ok : EXIT.failed;
}

export async function migrate(io: Io, file: string, options: FileOptions): Promise<ExitCode> {
  const { engine } = surroundings(io, options);
  const context = contextOf(engine, new Date().toISOString());
  const migration = migrateProject(projectIn(file), context);
  if (!migration.ok) {
    const { from, finding } = migration;
    if (options.json) io.out(JSON.stringify({ ok: false, from, findings: [finding] }));
    else tellFindings(io, [finding], `${file}: schema ${from ?? '(unknown)'}`);
    return EXIT.failed;
  }
  const { document, from, to, changes } = migration;
  if (options.out !== undefined)
    writeFileSync(options.out, `${JSON.stringify(document, null, 2)}\n`);
  if (options.json) {
    const told = options.out === undefined ? { document } : { out: options.out };
    io.out(JSON.stringify({ ok: true, from, to, changes, ...told }));
    return EXIT.ok;
  }
  io.err(`schema ${from} to ${to}, ${changes.length} values differ`);
  if (options.out === undefined) io.out(JSON.stringify(document, null, 2));
  else io.err(`written to ${options.out}`);
  return EXIT.ok;
}

export async function diff(
  io: Io,
  before: string,
  after: string,
  options: FileOptions,
): Promise<ExitCode> {
  const changes = diffValues(projectIn(before), projectIn(after));
  if (options.json) io.out(JSON.stringify({ changes }));
  else tellChanges(io, changes, [before, after]);
  return changes.length === 0 ? EXIT.ok : EXIT.failed;
}

/** A file against its own hash and signature; with `history`, also against what runs. */
export async function verifyFile(io: Io, file: string, options: FileOptions): Promise<ExitCode> {
  const { engine } = surroundings(io, options);
  const project = projectIn(file);
  const verified = verifyProject(project, {
    engine,
    now: new Date().toISOString(),
    isKnownKey: knows(keysOf(io, options)),
    requireSignature: options.requireSignature ?? false,
  });
  const { findings, integrity } = verified;
  const exported = integrity?.history ?? null;
  const history =
    options.history && exported !== null ? await askHistory(io, options, project, exported) : null;
  const ok = verified.ok && history?.valid !== false;
  if (options.json) {
    io.out(JSON.stringify({ ok, findings, integrity, history }));
    return ok ? EXIT.ok : EXIT.failed;
  }
  const { hash = 'absent', signature = 'absent', key_id = null } = integrity ?? {};
  const key = key_id === null ? '' : ` (key ${key_id.slice(0, 16)})`;
  tellFindings(io, findings, `${file}: hash ${hash}, signature ${signature}${key}`);
  if (exported !== null)
    io.out(`history: ${exported.entries} entries, signature ${exported.signature}`);
  if (history !== null) tellHistory(io, history);
  return ok ? EXIT.ok : EXIT.failed;
}

function askHistory(
  io: Io,
  options: FileOptions,
  project: unknown,
  { entries, head }: { entries: number; head: string },
) {
  const { id } = project as { id: string };
  return connectTo(io, options).call(API.projects.verify, { project_id: id, entries, head });
}

type HistoryReport = {
  valid: boolean;
  entries: number;
  broken_at: number | null;
  fault: string | null;
  head: string;
};

export function tellHistory(
  io: Io,
  { valid, entries, broken_at, fault, head }: HistoryReport,
): void {
  if (valid) io.out(`the history of ${entries} entries is whole, its head is ${head.slice(0, 16)}`);
  else io.out(`the history is broken at entry ${broken_at}: ${fault}`);
}

function counts(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

export function tellFindings(io: Io, findings: readonly Finding[], title: string): void {
  const count = (level: Finding['level']): number =>
    findings.filter((one) => one.level === level).length;
  const [errors, warnings] = [count('error'), count('warning')];
  const clean = errors + warnings === 0;
  const counted = `${counts(errors, 'error')}, ${counts(warnings, 'warning')}`;
  io.out(`${title}: ${clean ? 'nothing to object' : counted}`);
  for (const { level, code, path, message } of findings) {
    const colour = level === 'error' ? 'red' : 'yellow';
    const head = paint(io.colours.out, colour, `${level} ${code}`);
    io.out(`  ${head} ${printable(path)}: ${printable(message)}`);
  }
}

export function tellChanges(io: Io, changes: readonly JsonChange[], heads: string[]): void {
  const rows = changes.map(({ path, before, after }) => [path, shown(before), shown(after)]);
  const options = { colours: io.colours.out, none: 'no difference' };
  io.out(table(['path', ...heads], rows, options));
}

function shown(value: unknown): string | undefined {
  return value === undefined ? undefined : clip(JSON.stringify(value), VALUE_CHARS);
}
