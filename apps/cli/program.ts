import { Command, CommanderError } from 'commander';
import { chatCommand } from './commands/chat.ts';
import { configCommand } from './commands/config.ts';
import { deadLettersCommand } from './commands/dead-letters.ts';
import { demoCommand } from './commands/demo.ts';
import { doctorCommand } from './commands/doctor.ts';
import { dossierCommand } from './commands/dossier.ts';
import { emitCommand } from './commands/emit.ts';
import { escalationsCommand } from './commands/escalations.ts';
import { eventsCommand } from './commands/events.ts';
import { missionBoardsCommand } from './commands/mission-boards.ts';
import { missionRunCommand } from './commands/mission-run.ts';
import { missionsCommand } from './commands/missions.ts';
import { ordersCommand } from './commands/orders.ts';
import { outboxCommand } from './commands/outbox.ts';
import { policyCommand } from './commands/policy.ts';
import { projectCommand } from './commands/project.ts';
import { runsCommand } from './commands/runs.ts';
import { serveCommand } from './commands/serve.ts';
import { streamsCommand } from './commands/streams.ts';
import { trackerCommand } from './commands/tracker.ts';
import { upCommand } from './commands/up.ts';
import { viewsCommand } from './commands/views.ts';
import { VERSION } from './env.ts';
import { describeFailure, EXIT, type ExitCode, toFailure, usage } from './failure.ts';
import { type Io, paint } from './io.ts';
import type { Run } from './options.ts';

/** Each adds itself to the program. */
const COMMANDS = [
  upCommand,
  demoCommand,
  chatCommand,
  runsCommand,
  ordersCommand,
  escalationsCommand,
  eventsCommand,
  viewsCommand,
  policyCommand,
  emitCommand,
  outboxCommand,
  deadLettersCommand,
  missionBoardsCommand,
  missionRunCommand,
  missionsCommand,
  dossierCommand,
  trackerCommand,
  projectCommand,
  configCommand,
  streamsCommand,
  serveCommand,
  doctorCommand,
];

/** Runs one command line (without the program's name) and answers its exit code. Never throws. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  let work: (() => Promise<ExitCode>) | undefined;
  const program = buildProgram(io, (chosen) => {
    work = chosen;
  });
  const json = argv.includes('--json');
  try {
    if (argv.length === 0) program.outputHelp();
    else program.parse(argv, { from: 'user' });
    return (await work?.()) ?? EXIT.ok;
  } catch (error) {
    return report(error, argv, json, io);
  }
}

function buildProgram(io: Io, run: Run): Command {
  const program = new Command('ironclaw')
    .description('A control plane for work done by AI agents.')
    .version(VERSION, '-V, --version', 'the version')
    .helpOption('-h, --help', 'this help')
    .helpCommand('help [command]', 'help on a command')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.out(text.trimEnd()),
      writeErr: (text) => io.err(text.trimEnd()),
      // Errors are told in one way, by report().
      outputError: () => {},
    })
    .configureHelp({ styleTitle: (title) => paint(io.colours.out, 'bold', title) })
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 failed or not found, 2 wrong usage, 3 the system is not reachable.',
    );
  // It is answered before this program is loaded (main.ts), and named here for the help alone.
  program.command('orchestrator-api').summary('work packages of missions, for orchestrators');
  for (const add of COMMANDS) add(program, run, io);
  return program;
}

function report(error: unknown, argv: readonly string[], json: boolean, io: Io): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.ok;
    // The help of a command that needs a subcommand has been shown.
    const isHelp = error.code === 'commander.help';
    const reason = isHelp ? 'a subcommand is needed' : error.message.replace(/^error: /, '').trim();
    const known = argv[0] !== undefined && /^[a-z]+$/.test(argv[0]) ? ` ${argv[0]}` : '';
    const help = error.code === 'commander.unknownCommand' ? '' : known;
    return report(usage(reason, `See: ironclaw${help} --help`), argv, json, io);
  }
  const failure = toFailure(error);
  if (failure !== undefined) {
    const text = describeFailure(failure, json);
    io.err(json ? text : text.replace(/^error:/, paint(io.colours.err, 'red', 'error:')));
    return failure.exitCode;
  }
  // A defect of ours: all that is known of it helps to find it.
  io.err(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return EXIT.failed;
}
