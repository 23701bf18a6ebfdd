import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import {
  AppError,
  id,
  invalid,
  isAppError,
  LIMITS,
  type Playbook,
  parse,
  playbook as playbookShape,
} from '#libs/contracts';

/** The folder of the playbooks that come with IronClaw. */
export const BUILT_IN_PLAYBOOKS = path.join(import.meta.dirname, 'playbooks');

/** The playbook of a run that names none. */
export const DEFAULT_PLAYBOOK = 'default';

const MAX_PLAYBOOKS = 500;
const MAX_FILE_BYTES = 1024 * 1024;

/** Variables that every run has; a playbook declares any others under `variables`. */
const RUN_VARIABLES = ['run_id', 'objective', 'message'] as const;

/** In a path only the run's id is filled in, so that no user text ever becomes a path. */
const PATH_VARIABLES = ['run_id'] as const;

/** Every version of every playbook, by `name@version`. */
export type Playbooks = ReadonlyMap<string, Playbook>;

/**
 * Reads every `*.json` of the folders; each version of a name may occur once.
 *
 * @throws {INVALID_REQUEST} a file is not a playbook; `field` is `<file>: <field>` · a folder
 *   cannot be read; `field` is IRONCLAW_PLAYBOOKS
 */
export async function loadPlaybooks(
  dirs: readonly string[] = [BUILT_IN_PLAYBOOKS],
): Promise<Playbooks> {
  const books = new Map<string, Playbook>();
  const origins = new Map<string, string>();
  for (const dir of dirs) {
    const names = (await filesOf(dir)).filter((name) => name.endsWith('.json')).sort();
    for (const name of names) {
      const file = path.join(dir, name);
      const book = await loadPlaybook(file);
      const key = `${book.name}@${book.version}`;
      const other = origins.get(key);
      if (other !== undefined) throw invalid(`${file}: name`, `${key} is already in ${other}`);
      if (books.size >= MAX_PLAYBOOKS) throw invalid(file, `over ${MAX_PLAYBOOKS} playbooks`);
      books.set(key, book);
      origins.set(key, file);
    }
  }
  return books;
}

async function filesOf(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    throw invalid('IRONCLAW_PLAYBOOKS', `${dir} cannot be read: ${(error as Error).message}`);
  }
}

async function loadPlaybook(file: string): Promise<Playbook> {
  if ((await stat(file)).size > MAX_FILE_BYTES) {
    throw invalid(file, `is over ${MAX_FILE_BYTES} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw invalid(file, `is not valid JSON: ${error.message}`);
  }
  try {
    const book = parse(playbookShape, value);
    checkTemplates(book);
    return book;
  } catch (error) {
    if (!isAppError(error)) throw error;
    throw new AppError(
      'INVALID_REQUEST',
      { reason: `${file}: ${error.message}` },
      { field: `${file}: ${error.field ?? ''}` },
    );
  }
}

/** Every variable a template uses must be declared, so a misspelt one is found at the start. */
function checkTemplates(book: Playbook): void {
  const known = new Set<string>([...RUN_VARIABLES, ...Object.keys(book.variables)]);
  const inPaths = new Set<string>(PATH_VARIABLES);
  for (const { field, text, isPath } of templatesOf(book)) {
    for (const [, name = ''] of text.matchAll(VARIABLE)) {
      if (!known.has(name)) throw invalid(field, `{{${name}}} is not a variable of this playbook`);
      if (isPath && !inPaths.has(name)) throw invalid(field, `{{${name}}} may not stand in a path`);
    }
  }
}

/** One order to be, of a playbook or of what mends it. */
export type PlaybookStep = Omit<Playbook['steps'][number], 'on_blocked'>;

type Template = { field: string; text: string; isPath: boolean };

function templatesOf({ files, steps, reply }: Playbook): Template[] {
  const found: Template[] = [];
  const text = (field: string, value: string) => found.push({ field, text: value, isPath: false });
  const place = (field: string, value: string) => found.push({ field, text: value, isPath: true });
  for (const [i, file] of files.entries()) {
    place(`files[${i}].path`, file.path);
    text(`files[${i}].text`, file.text);
  }
  const ofStep = (at: string, step: PlaybookStep): void => {
    text(`${at}.objective`, step.objective);
    text(`${at}.prompt.system`, step.prompt.system);
    step.prompt.files.forEach((file, j) => place(`${at}.prompt.files[${j}]`, file));
    step.outputs.forEach((output, j) => place(`${at}.outputs[${j}].path`, output.path));
  };
  for (const [i, step] of steps.entries()) {
    ofStep(`steps[${i}]`, step);
    step.on_blocked.forEach((remedy, j) => ofStep(`steps[${i}].on_blocked[${j}]`, remedy));
  }
  for (const [i, part] of reply.entries()) place(`reply[${i}].path`, part.path);
  return found;
}

/**
 * The playbook that is named: `name@version`, or the newest version of `name`.
 *
 * @throws {UNKNOWN_PLAYBOOK} there is none
 */
export function choosePlaybook(named: string, books: Playbooks): Playbook {
  let newest = books.get(named);
  if (newest === undefined) {
    for (const book of books.values()) {
      if (book.name === named && book.version > (newest?.version ?? 0)) newest = book;
    }
  }
  if (newest !== undefined) return newest;
  throw new AppError('UNKNOWN_PLAYBOOK', { playbook: named }, { field: 'playbook' });
}

/** The playbook of a run, in the version that it was created with. @throws {UNKNOWN_PLAYBOOK} */
export function playbookOf(
  run: { playbook: string | null; playbook_version: number | null },
  books: Playbooks,
): Playbook {
  const { playbook, playbook_version: version } = run;
  const named = playbook ?? DEFAULT_PLAYBOOK;
  return choosePlaybook(version === null ? named : `${named}@${version}`, books);
}

/** What a run gives its playbook: its id, objective and message, and declared variables. */
export type PlaybookValues = {
  run_id: string;
  objective: string;
  message: string;
  [variable: string]: string;
};

/** A playbook without open variables: what to write, what to order, what to answer with. */
export type FilledPlaybook = {
  name: string;
  version: number;
  /** Files to write beside the run's inputs; an input of the same path takes its place. */
  files: { path: string; text: string }[];
  steps: Playbook['steps'];
  reply: Playbook['reply'];
};

/**
 * Fills in a playbook for one run. `inputNames` are the run's input files: each has its place at
 * `inputPath(run_id, name)`, and a prompt file that ends in `/*` stands for all files of that
 * folder.
 *
 * Values are inserted once and not read again, so user text cannot bring variables of its own; in a
 * `.json` file they are inserted as JSON string content. A step's objective is cut at its limit, as
 * the whole of it is in the message file.
 *
 * @throws {INVALID_REQUEST} an undeclared or missing variable, a value that does not fit
 */
export function fillPlaybook(
  book: Playbook,
  values: PlaybookValues,
  inputNames: readonly string[] = [],
): FilledPlaybook {
  const all = checkValues(book, values);
  const fill = (text: string) => fillText(text, all);
  const inputs = inputNames.map((name) => inputPath(values.run_id, name));
  const files = book.files
    .map((file) => ({
      path: fill(file.path),
      text: file.path.endsWith('.json') ? fillText(file.text, jsonContent(all)) : fill(file.text),
    }))
    .filter((file) => !inputs.includes(file.path));
  const present = [...new Set([...files.map((file) => file.path), ...inputs])];
  const fillStep = <S extends PlaybookStep>(step: S): S => ({
    ...step,
    objective: clip(fill(step.objective), LIMITS.objectiveChars),
    prompt: {
      ...step.prompt,
      system: fill(step.prompt.system),
      files: step.prompt.files.flatMap((file) => expand(fill(file), present)),
    },
    outputs: step.outputs.map((output) => ({ ...output, path: fill(output.path) })),
  });
  const steps = book.steps.map((step) => ({
    ...fillStep(step),
    on_blocked: step.on_blocked.map(fillStep),
  }));
  const reply = book.reply.map((part) => ({ ...part, path: fill(part.path) }));
  // Texts are bound by the message's own limit; the shape's limit is for what authors write.
  const shown = files.map((file) => ({ ...file, text: '' }));
  const checked = parse(playbookShape, { ...book, files: shown, steps, reply }, 'playbook');
  return { name: book.name, version: book.version, files, steps: checked.steps, reply };
}

/**
 * Where an input file of a run stands in a worktree: under `inputs/<run>/`, or under
 * `context/<run>/` where its name starts with `context/`: runs share a mainline, each has its own.
 */
export function inputPath(runId: string, name: string): string {
  if (name.startsWith('context/')) return `context/${runId}/${name.slice('context/'.length)}`;
  const inside = name.startsWith('inputs/') ? name.slice('inputs/'.length) : name;
  return `inputs/${runId}/${inside}`;
}

function checkValues(book: Playbook, values: PlaybookValues): Record<string, string> {
  parse(id, values.run_id, 'run_id');
  for (const [name, value] of Object.entries(values)) {
    const isRunOwn = RUN_VARIABLES.some((own) => own === name);
    if (!isRunOwn && !Object.hasOwn(book.variables, name)) {
      throw invalid(`variables.${name}`, `playbook ${book.name} has no such variable`);
    }
    if (value.length > LIMITS.messageChars) {
      throw invalid(`variables.${name}`, `is over ${LIMITS.messageChars} characters`);
    }
  }
  return { ...book.variables, ...values };
}

const VARIABLE = /\{\{(\w{1,64})\}\}/g;

function fillText(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(VARIABLE, (_whole, name: string) => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value === undefined) throw invalid(`variables.${name}`, 'has no value');
    return value;
  });
}

function jsonContent(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, JSON.stringify(value).slice(1, -1)]),
  );
}

/** `folder/*` means every file of the run that is in that folder or below, in order. */
function expand(pattern: string, present: readonly string[]): string[] {
  if (!pattern.endsWith('/*')) return [pattern];
  return present.filter((file) => file.startsWith(pattern.slice(0, -1)));
}

function clip(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars - 1)}…`;
}
