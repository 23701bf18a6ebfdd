import { parseArgs } from 'node:util';

export const BENCHES = [
  'ledger',
  'orders',
  'ingest',
  'gate',
  'projects',
  'orchestrator-api',
] as const;
export type Bench = (typeof BENCHES)[number];

/** Parts of `bench -- ledger`, in the order in which they run. */
export const PARTS = ['append', 'batch', 'projector', 'http', 'memory'] as const;
export type Part = (typeof PARTS)[number];

export type BenchOptions = {
  bench: Bench;
  /** Events in the ledger whose effect on memory is measured. */
  events: number;
  /** Keys that `ingest` delivers twice. */
  keys: number;
  parts: readonly Part[];
  json: boolean;
  quick: boolean;
  /** How long those events may take to be stored and read by the roles; null: default. */
  waitSeconds: number | null;
  /** When the broker forces data to disk. */
  sync: 'always' | '2m';
};

export const EVENTS_DEFAULT = 1_000_000;
export const EVENTS_QUICK = 44_000;
const EVENTS_MAX = 20_000_000;
const KEYS_DEFAULT = 20_000;
const KEYS_QUICK = 1_000;
const KEYS_MAX = 1_000_000;
const WAIT_SECONDS_MAX = 3_600;

export const HELP = `Measures this system against the broker and the libraries that it stands on.

  npm run bench -- <name> [options]

Names
  ledger   append, batch, projector and POST /events against what does the same without us;
           memory of each role after many events
  ingest   signed posts against a bare server with one HMAC and one publish, reads meanwhile,
           and many keys delivered twice
  orders   order lifecycles a second, worktrees on and off, against the broker's own limit
  gate     mission events read and checked, against reading them as JSON
  projects checking a project of 1 MB, importing it, commands on one and on many projects
  orchestrator-api
           commands of missions, each a process, against a Node that does nothing

Options
  --events N        events for the memory figures (default ${EVENTS_DEFAULT}; --quick: ${EVENTS_QUICK})
  --keys N          of ingest: keys that are delivered twice (default ${KEYS_DEFAULT}; --quick: ${KEYS_QUICK})
  --wait SECONDS    how long those events may take to be stored and read (default 90; --quick: 8)
  --parts a,b       of ledger: ${PARTS.join(', ')} (default: all)
  --sync always|2m  when the broker forces data to disk (default 2m: the disk hides least then)
  --quick           short rounds: a look, not a figure to quote
  --json            the report as JSON on stdout, progress on stderr
  --help            this text

Examples
  npm run bench -- ledger
  npm run bench -- ledger --quick --parts append,http
  npm run bench -- orders --sync always --json

How each figure is made, and what is not measured: test/bench/BENCHMARKS.md
`;

/** The command line was wrong; the message says how. */
export class UsageError extends Error {}

/** Reads the command line. `help`: it asks for the text above. @throws UsageError */
export function readOptions(argv: readonly string[]): BenchOptions | 'help' {
  const { values, positionals } = parse(argv);
  if (values.help === true) return 'help';
  const [bench, ...rest] = positionals;
  if (bench === undefined || rest.length > 0) throw new UsageError('name one bench');
  const quick = values.quick === true;
  return {
    bench: oneOf('bench', BENCHES, bench),
    events:
      wholeNumber('--events', values.events, EVENTS_MAX) ?? (quick ? EVENTS_QUICK : EVENTS_DEFAULT),
    keys: wholeNumber('--keys', values.keys, KEYS_MAX) ?? (quick ? KEYS_QUICK : KEYS_DEFAULT),
    waitSeconds: wholeNumber('--wait', values.wait, WAIT_SECONDS_MAX) ?? null,
    parts: partsOf(values.parts),
    json: values.json === true,
    quick,
    sync: oneOf('--sync', ['always', '2m'] as const, values.sync ?? '2m'),
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        events: { type: 'string' },
        keys: { type: 'string' },
        wait: { type: 'string' },
        parts: { type: 'string' },
        sync: { type: 'string' },
        quick: { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function wholeNumber(what: string, text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new UsageError(`${what} must be a whole number from 1 to ${max}`);
}

function partsOf(text: string | undefined): readonly Part[] {
  if (text === undefined) return PARTS;
  const wanted = text.split(',').map((name) => oneOf('--parts', PARTS, name.trim()));
  return PARTS.filter((part) => wanted.includes(part));
}

function oneOf<T extends string>(what: string, allowed: readonly T[], value: string): T {
  const found = allowed.find((name) => name === value);
  if (found !== undefined) return found;
  throw new UsageError(`${what} must be one of ${allowed.join(', ')}; it is ${value}`);
}
