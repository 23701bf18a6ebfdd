import { join } from 'node:path';
import type { Config } from '#libs/runtime';
import type { Command } from 'commander';
import { DEMO_THEATER, type DemoJob, runDemo } from '../demo/run-demo.ts';
import { type Env, settingsOf } from '../env.ts';
import { EXIT, type ExitCode } from '../failure.ts';
import type { Io } from '../io.ts';
import { withExamples, type Run } from '../options.ts';
import { listenForSignals } from '../signals.ts';
import { readInput } from './chat.ts';

type DemoOptions = {
  file?: string;
  account?: string;
  message?: string;
  playbook?: string;
  state?: string;
  keep?: true;
};

const FOLDER = join(import.meta.dirname, '..', 'demo');
const CALL_PLAYBOOK = 'filesystem_agent.call_summary';
/** A worker silent for so long has lost its job; short, so that the demo is. */
const LEASE_MS = '2000';
const KEPT_SETTINGS = [
  'IRONCLAW_NATS_SERVER',
  'IRONCLAW_CACHE',
  'IRONCLAW_MODEL',
  'IRONCLAW_MODEL_PRICES',
];

export function demoCommand(program: Command, run: Run, io: Io): void {
  const command = program
    .command('demo')
    .summary('the main job on a real call transcript, with a worker killed in the middle')
    .description(
      'Starts a system of its own beside any other, gives it a call transcript of 150 lines and the notes on the ' +
        'account, kills the worker process (kill -9) in the middle of an order, and checks with git that the ' +
        'mainline holds the result. Exit code 0 only if it does.',
    )
    .option('--file <path>', 'a transcript of your own instead of the bundled one')
    .option('--account <path>', 'account notes of your own (JSON)')
    .option('--message <text>', 'an objective of your own')
    .option(
      '--playbook <name>',
      `how to go about it (${CALL_PLAYBOOK}; with --message alone: default)`,
    )
    .option('--state <dir>', 'folder of its state (.ironclaw/demo-<time>)')
    .option('--keep', 'keep the system running at the end, until Ctrl-C')
    .action((options: DemoOptions) => run(() => demo(io, options)));
  withExamples(command, [
    'demo',
    'demo --file my-call.md --message "What did we promise, and by when?"',
    'demo --message "Compare event logs and message queues" --playbook research-draft-verify',
  ]);
}

/** `--message` alone is a task of its own; everything else is about a call and its account. */
async function jobOf({ message, playbook, file, account }: DemoOptions): Promise<DemoJob> {
  const own = message !== undefined && file === undefined && account === undefined;
  if (own && playbook !== CALL_PLAYBOOK) {
    return { message, playbook: playbook ?? 'default', inputs: [] };
  }
  const call = await readInput(`call.md=${file ?? join(FOLDER, 'call-transcript.md')}`);
  // Somebody else's call has nothing to do with the bundled account.
  const notes = account ?? (file === undefined ? join(FOLDER, 'account.json') : undefined);
  const context = notes === undefined ? [] : [await readInput(`context/account.json=${notes}`)];
  return {
    message: message ?? 'Summarise the call and list who promised what by when',
    playbook: playbook ?? CALL_PLAYBOOK,
    inputs: [call, ...context],
  };
}

async function demo(io: Io, options: DemoOptions): Promise<ExitCode> {
  const job = await jobOf(options);
  const { env, config } = demoSettings(io, options);
  const signals = listenForSignals();
  try {
    const done = await runDemo({
      io,
      job,
      env,
      config,
      stop: signals.stop,
      kill: signals.force,
      ...(options.keep && { keep: true }),
    });
    return done ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (!signals.stop.aborted) throw error;
    io.err(`stopped; its state is in ${config.stateDir}`);
    return EXIT.failed;
  } finally {
    signals.release();
  }
}

/** A system of its own: what the environment says of others (broker, tokens, theaters) is left out. */
function demoSettings(io: Io, { state }: DemoOptions): { env: Env; config: Config } {
  const base = settingsOf(io.env, {}).config.stateDir;
  const time = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  const kept = Object.entries(io.env).filter(
    ([name]) => !/^(NATS_|IRONCLAW_)/.test(name) || KEPT_SETTINGS.includes(name),
  );
  return settingsOf(
    {
      ...Object.fromEntries(kept),
      IRONCLAW_JOB_LEASE_MS: LEASE_MS,
      IRONCLAW_THEATER: DEMO_THEATER,
    },
    { state: state ?? join(base, `demo-${time}`), port: '0' },
  );
}
