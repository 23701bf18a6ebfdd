import { API } from '#libs/contracts';
import type { Command } from 'commander';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { size } from '../format.ts';
import type { Io } from '../io.ts';
import { type ConnectionOptions, connectTo, withConnection } from '../options.ts';

type Run = (work: () => Promise<ExitCode>) => void;
type ReasonOptions = ConnectionOptions & { reason?: string };
type PauseOptions = ReasonOptions & { theater?: string; class?: string; by?: string };
type FeedbackOptions = ConnectionOptions & {
  order?: string;
  note?: string;
  correction?: string;
};

/** Adds what a person does to runs: cancel, pause, resume, feedback. */
export function addRunControl(command: Command, run: Run, io: Io): void {
  withConnection(
    command
      .command('cancel <run-id>')
      .description('Ends a run and all its live orders; units at work are stopped.')
      .option('--reason <text>', 'why')
      .action((id: string, options: ReasonOptions) => run(() => cancelRun(io, id, options))),
  );
  for (const word of ['pause', 'resume'] as const) {
    const description =
      word === 'pause'
        ? 'Holds back a run, a theater or a worker class; what is at work may finish.'
        : 'Lets a paused run, theater or worker class go on.';
    withConnection(
      command
        .command(`${word} [run-id]`)
        .description(description)
        .option('--theater <id>', 'a whole theater')
        .option('--class <name>', 'a worker class, in all theaters or that of --theater')
        .option('--by <person>', 'who says so')
        .option('--reason <text>', 'why')
        .action((id: string | undefined, options: PauseOptions) =>
          run(() => setPaused(io, word, id, options)),
        ),
    );
  }
  withConnection(
    command
      .command('feedback <run-id> <verdict>')
      .description('Tells how good a result was: good, bad or corrected. Learning counts it.')
      .option('--order <id>', 'of this order alone')
      .option('--note <text>', 'what was good or bad')
      .option('--correction <text>', 'the text as it should have been')
      .action((id: string, verdict: string, options: FeedbackOptions) =>
        run(() => feedback(io, id, verdict, options)),
      ),
  );
}

async function cancelRun(io: Io, run_id: string, options: ReasonOptions): Promise<ExitCode> {
  const { reason } = options;
  const input = { run_id, ...(reason !== undefined && { reason }) };
  const answer = await connectTo(io, options).call(API.gateway.cancelRun, input);
  const orders = answer.cancelled_orders.length;
  const many = `${orders} order${orders === 1 ? '' : 's'}`;
  io.out(options.json ? JSON.stringify(answer) : `${run_id} is cancelled, with ${many}`);
  return EXIT.ok;
}

async function setPaused(
  io: Io,
  word: 'pause' | 'resume',
  run_id: string | undefined,
  options: PauseOptions,
): Promise<ExitCode> {
  const { theater, class: workerClass, by, reason } = options;
  if (run_id === undefined && theater === undefined && workerClass === undefined) {
    throw usage('nothing is named', `Name a run, --theater or --class: ironclaw runs ${word} …`);
  }
  const answer = await connectTo(io, options).call(API.co[word], {
    ...(run_id !== undefined && { run_id }),
    ...(theater !== undefined && { theater_id: theater }),
    ...(workerClass !== undefined && { class: workerClass }),
    ...(by !== undefined && { by }),
    ...(reason !== undefined && { reason }),
  });
  const named = workerClass === undefined ? theater : `class ${workerClass}`;
  const told = `${run_id ?? named} ${answer.paused ? 'is paused' : 'goes on'}`;
  io.out(options.json ? JSON.stringify(answer) : told);
  return EXIT.ok;
}

async function feedback(
  io: Io,
  run_id: string,
  verdict: string,
  options: FeedbackOptions,
): Promise<ExitCode> {
  const { order, note, correction } = options;
  const answer = await connectTo(io, options).call(API.gateway.feedback, {
    run_id,
    // The schema refuses what is no verdict.
    verdict: verdict as 'good',
    ...(order !== undefined && { order_id: order }),
    ...(note !== undefined && { note }),
    ...(correction !== undefined && { correction }),
  });
  const kept = correction === undefined ? '' : `, with ${size(Buffer.byteLength(correction))}`;
  io.out(options.json ? JSON.stringify(answer) : `recorded: ${verdict}${kept}`);
  return EXIT.ok;
}
