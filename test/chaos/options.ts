import { parseArgs } from 'node:util';
import { FLEETS } from './fleet.ts';

export type ChaosOptions = {
  seed: number;
  minutes: number;
  chatsPerMinute: number;
  fleet: keyof typeof FLEETS;
  /** When the broker forces data to disk. */
  sync: 'always' | '2m';
  /** How long work may go on after the chaos has stopped, before that is a violation. */
  settleSeconds: number;
  json: boolean;
  /** Print the schedule and end. */
  plan: boolean;
  /** Leave the state folder although all is well. */
  keep: boolean;
};

export const HELP = `Runs a whole system of processes, breaks it on a schedule, and proves afterwards what it promises.

  npm run chaos -- [options]

Options
  --seed N           what the schedule follows from (default 1): same seed, same schedule
  --minutes M        how long things are broken; fractions are fine (default 1)
  --chats N          chats a minute (default 30)
  --fleet full|small every role in processes of its own (27 processes), or shared ones (9)
                     (default full)
  --sync 2m|always   when the broker forces data to disk (default 2m)
  --settle SECONDS   how long the work may take to end after the last fault (default 120)
  --plan             print the schedule, and end
  --json             the summary as JSON on stdout; progress on stderr
  --keep             leave the state folder: logs, ledger, repositories (kept anyway on FAIL)
  --help             this text

Exit code: 0 nothing was violated, 1 something was, 2 the command line was wrong.
What is done and what is proven: test/chaos/README.md
`;

/** The command line was wrong; the message says how. */
export class UsageError extends Error {}

/** Reads the command line. `help`: it asks for the text above. @throws UsageError */
export function readOptions(argv: readonly string[]): ChaosOptions | 'help' {
  const values = parse(argv);
  if (values.help === true) return 'help';
  return {
    seed: within('--seed', values.seed ?? '1', 0, 2 ** 31, true),
    minutes: within('--minutes', values.minutes ?? '1', 0.05, 24 * 60),
    chatsPerMinute: within('--chats', values.chats ?? '30', 0, 1_000),
    fleet: oneOf('--fleet', Object.keys(FLEETS) as (keyof typeof FLEETS)[], values.fleet ?? 'full'),
    sync: oneOf('--sync', ['2m', 'always'] as const, values.sync ?? '2m'),
    settleSeconds: within('--settle', values.settle ?? '120', 1, 3_600),
    json: values.json === true,
    plan: values.plan === true,
    keep: values.keep === true,
  };
}

function parse(argv: readonly string[]) {
  try {
    const text = { type: 'string' } as const;
    const flag = { type: 'boolean' } as const;
    return parseArgs({
      args: [...argv],
      options: {
        seed: text,
        minutes: text,
        chats: text,
        fleet: text,
        sync: text,
        settle: text,
        json: flag,
        plan: flag,
        keep: flag,
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function within(what: string, text: string, min: number, max: number, whole = false): number {
  const value = Number(text);
  const fits = text.trim() !== '' && value >= min && value <= max;
  if (fits && (!whole || Number.isInteger(value))) return value;
  throw new UsageError(
    `${what} must be ${whole ? 'a whole number' : 'a number'} from ${min} to ${max}`,
  );
}

function oneOf<T extends string>(what: string, allowed: readonly T[], value: string): T {
  const found = allowed.find((name) => name === value);
  if (found !== undefined) return found;
  throw new UsageError(`${what} must be one of ${allowed.join(', ')}; it is ${value}`);
}
