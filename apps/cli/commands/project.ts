import type { Command } from 'commander';
import type { ExitCode } from '../failure.ts';
import type { Io } from '../io.ts';
import { withConnection, withExamples, withJson, withState } from '../options.ts';
import { diff, type FileOptions, migrate, validate } from './project-file.ts';
import {
  comment,
  type CommentOptions,
  edit,
  type EditOptions,
  gate,
  type GateOptions,
  importFile,
  type ImportOptions,
  make,
  type MakeOptions,
  waive,
  type WaiveOptions,
} from './project-changes.ts';
import {
  exportBundle,
  history,
  keys,
  type KeyOptions,
  list,
  type ProjectOptions,
  status,
  verify,
} from './project-reads.ts';

type Run = (work: () => Promise<ExitCode>) => void;

/** `ironclaw project`: governed projects, in files and in the running system. */
export function projectCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('project')
    .summary('governed projects: phases, artifacts, gates, bundles')
    .description(
      'A project has phases with artifacts and a gate each. validate, migrate, diff and verify\n' +
        'of a file work with nothing running. Artifacts are named by id, or by phase and place as\n' +
        '1.2 (see status <project> <phase>). Exit codes: 0 clean, 1 findings, 2 wrong usage.',
    );
  addFileCommands(command, run, io);
  addReads(command, run, io);
  addChanges(command, run, io);
  withExamples(command, [
    'project new "My assistant" --id assistant --mode solo',
    'project status assistant',
    'project export assistant --sign --out assistant.json',
    'project verify assistant.json',
  ]);
}

function addFileCommands(command: Command, run: Run, io: Io): void {
  const file = (name: string, description: string): Command =>
    withJson(withState(command.command(name).description(description)));
  file('validate <file>', 'Say what is wrong with a project or a bundle.')
    .option('--lenient', 'as a lenient import would read it')
    .option('--fail-fast', 'stop at the first error')
    .option('--plan-rules', 'hold it to the rules of its plan, too')
    .option('--require-signature', 'refuse what no known key has signed')
    .action((at: string, options: FileOptions) => run(() => validate(io, at, options)));
  file('migrate <file>', 'Bring a project to the current schema.')
    .option('--out <file>', 'write it there (standard output)')
    .action((at: string, options: FileOptions) => run(() => migrate(io, at, options)));
  file('diff <before> <after>', 'What differs between two projects or bundles.').action(
    (before: string, after: string, options: FileOptions) =>
      run(() => diff(io, before, after, options)),
  );
}

function addReads(command: Command, run: Run, io: Io): void {
  const read = (name: string, description: string, options?: { isDefault: true }): Command =>
    withConnection(command.command(name, options).description(description));
  read('list', 'The projects there are.', { isDefault: true })
    .option('--plan <id>', 'of this plan')
    .action((options: ProjectOptions & { plan?: string }) => run(() => list(io, options)));
  read('status <project> [phase]', 'Its phases and gates, or the artifacts of one phase.').action(
    (id: string, phase: string | undefined, options: ProjectOptions) =>
      run(() => status(io, id, phase, options)),
  );
  read('history <project>', 'Who did what, and when.')
    .option('--decisions', 'only the decisions of gates, with their reasons')
    .option('--as-of <seq-or-time>', 'the document as it was, as JSON')
    .action((id: string, options: ProjectOptions & { decisions?: true; asOf?: string }) =>
      run(() => history(io, id, options)),
    );
  read('export <project>', 'Write a bundle of it, with its hash.')
    .option('--sign', 'signed by the key of this installation')
    .option('--out <file>', 'write it there (its own name, in this folder)')
    .action((id: string, options: FileOptions & { sign?: true }) =>
      run(() => exportBundle(io, id, options)),
    );
  read('verify <file-or-project>', 'Whether a file is what its hash and signature say.')
    .option('--require-signature', 'refuse what no known key has signed')
    .option('--history', 'compare the head in the file with the history of what runs')
    .action((at: string, options: FileOptions) => run(() => verify(io, at, options)));
  read('keys', 'The signing keys; private halves never leave the state folder.')
    .option('--new', 'make a new key; the one before signs no longer')
    .option('--public <key>', 'the public half of a key, as JSON')
    .option('--trust <file>', 'know the public half in this file')
    .action((options: KeyOptions) => run(() => keys(io, options)));
}

function addChanges(command: Command, run: Run, io: Io): void {
  const change = (name: string, description: string): Command =>
    withConnection(command.command(name).description(description))
      .option('--as <actor>', 'who does it (the name of the token; else local)')
      .option('--revision <n>', 'only if it still has this revision');
  change('new <name>', 'Make a project of a plan.')
    .option('--id <id>', 'its id (a new UUID)')
    .option('--plan <id>', 'the plan', 'cpmai')
    .option('--mode <mode>', 'solo or team', 'team')
    .option('--device <id>', 'where it is made: its owner')
    .option('--description <text>', 'what it is about')
    .action((name: string, options: MakeOptions) => run(() => make(io, name, options)));
  change('import <file>', 'Take a project or a bundle in; strict unless told otherwise.')
    .option('--lenient', 'repair what can be repaired')
    .option('--plan-rules', 'hold it to the rules of its plan, too')
    .option('--require-signature', 'refuse what no known key has signed')
    .option('--on-collision <choice>', 'overwrite, keep-both or cancel where the id is taken')
    .action((file: string, options: ImportOptions) => run(() => importFile(io, file, options)));
  change('edit <project> <artifact>', 'Fill in an artifact.')
    .option('--rationale <text>', 'its rationale')
    .option('--notes <text>', 'its notes')
    .option('--field <id=value...>', 'values of fields; JSON where it is some')
    .action((id: string, artifact: string, options: EditOptions) =>
      run(() => edit(io, id, artifact, options)),
    );
  change('gate <project> <phase>', 'Show, decide or reopen the gate of a phase.')
    .option('--go', 'decide go')
    .option('--no-go', 'decide no-go')
    .option('--notes <text>', 'why; in solo mode at least 30 characters')
    .option('--reopen <reason>', 'open a decided gate again')
    .action((id: string, phase: string, options: GateOptions) =>
      run(() => gate(io, id, phase, options)),
    );
  change('waive <project> <artifacts...>', 'Waive artifacts, or take their waivers away.')
    .option('--reason <text>', 'why: at least 20 characters')
    .option('--remove', 'take the waiver away')
    .action((id: string, artifacts: string[], options: WaiveOptions) =>
      run(() => waive(io, id, artifacts, options)),
    );
  change('comment <project> <artifact> [text]', 'Comment on an artifact.')
    .option('--type <type>', 'advisory, self-critique or future-review', 'advisory')
    .option('--resolve <comment>', 'resolve this one')
    .option('--reopen <comment>', 'open this one again')
    .action((id: string, artifact: string, text: string | undefined, options: CommentOptions) =>
      run(() => comment(io, id, artifact, text, options)),
    );
}
