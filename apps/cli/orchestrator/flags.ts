import { LIMITS } from '#libs/contracts';
import { accept, refuse, type Result } from '#libs/missions';

/** `text` takes a value, `switch` none, `toggle` has a `--no-` form. */
type Kind = 'text' | 'switch' | 'toggle';
type Flag = { kind: Kind; required?: true };
type FlagTable = Readonly<Record<string, Flag>>;

const text: Flag = { kind: 'text' };
const needed: Flag = { kind: 'text', required: true };
const mission = { mission: needed };
const read = { ...mission, policy: text };
const claim = { ...mission, wp: needed, actor: needed, policy: text };

/** Every command of the orchestrator API and its flags. Source: orchestrator-api.md, reference §1.3. */
export const COMMANDS = {
  'contract-version': { 'provider-version': text },
  'mission-state': read,
  'list-ready': read,
  'resolve-workspace': { ...read, wp: needed },
  'start-implementation': claim,
  'start-review': { ...claim, 'review-ref': text },
  transition: {
    ...claim,
    to: needed,
    note: text,
    force: { kind: 'switch' },
    'review-ref': text,
    'evidence-json': text,
    'review-result-json': text,
    'subtasks-complete': { kind: 'toggle' },
    'implementation-evidence-present': { kind: 'toggle' },
  },
  'append-history': { ...claim, note: needed },
  'accept-mission': { ...mission, actor: needed, policy: text },
  'merge-mission': {
    ...mission,
    target: text,
    strategy: text,
    push: { kind: 'switch' },
    policy: text,
  },
} as const satisfies Record<string, FlagTable>;

export type CommandName = keyof typeof COMMANDS;
export type Flags = Readonly<Record<string, string | boolean | undefined>>;
export type Parsed = { command: CommandName; flags: Flags };

/** Every flag with its dashes, as the compatibility gate wants to know it. */
export function allFlags(): string[] {
  const names = Object.values(COMMANDS).flatMap((table: FlagTable) => Object.keys(table));
  return [...new Set(names)].map((name) => `--${name}`);
}

/** Longest value of a flag, in characters; a note may have LIMITS.noteChars. */
const VALUE_CHARS_MAX = 65_536;
const ACTOR_CHARS_MAX = 200;

/** Reads the words after `orchestrator-api`. @returns USAGE_ERROR for all that is not understood */
export function parseCommand(words: readonly string[]): Result<Parsed> {
  const [name, ...rest] = words;
  if (name === undefined) {
    return usage(`a command is needed: ${Object.keys(COMMANDS).join(', ')}`);
  }
  if (name.startsWith('-')) return usage(`there is no flag ${clip(name)}`);
  if (!Object.hasOwn(COMMANDS, name)) return usage(`there is no command ${clip(name)}`);
  const command = name as CommandName;
  const flags = parseFlags(COMMANDS[command], rest);
  return flags.ok ? accept({ command, flags: flags.value.flags }) : flags;
}

type Given = { flags: Flags; rest: readonly string[] };

/** Reads flags against a table; at most `wordsMax` other words may stand between them. */
export function parseFlags(
  table: FlagTable,
  words: readonly string[],
  wordsMax = 0,
): Result<Given> {
  const flags: Record<string, string | boolean> = {};
  const rest: string[] = [];
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] as string;
    if (!word.startsWith('-') && rest.length < wordsMax) {
      rest.push(word);
      continue;
    }
    if (!word.startsWith('--')) return usage(`${clip(word)} is not expected`);
    const [, name = '', inline] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(word) ?? [];
    const found = find(table, name);
    if (found === undefined) return usage(`there is no flag --${clip(name)}`);
    if (found.flag.kind !== 'text') {
      if (inline !== undefined) return usage(`--${name} takes no value`);
      flags[found.name] = found.on;
      continue;
    }
    const value = inline ?? words[i + 1];
    if (value === undefined || (inline === undefined && isFlag(table, value))) {
      return usage(`--${name} needs a value`);
    }
    if (inline === undefined) i += 1;
    const fault = valueFault(name, value);
    if (fault !== undefined) return usage(fault);
    flags[name] = value;
  }
  for (const [name, { required }] of Object.entries(table)) {
    if (required === true && flags[name] === undefined) return usage(`--${name} is missing`);
  }
  return accept({ flags, rest });
}

function find(table: FlagTable, name: string) {
  const known = Object.hasOwn(table, name) ? table[name] : undefined;
  if (known !== undefined) return { name, flag: known, on: true };
  const positive = name.replace(/^no-/, '');
  const flag = Object.hasOwn(table, positive) ? table[positive] : undefined;
  return flag?.kind === 'toggle' && positive !== name
    ? { name: positive, flag, on: false }
    : undefined;
}

function isFlag(table: FlagTable, word: string): boolean {
  return word.startsWith('--') && find(table, word.slice(2)) !== undefined;
}

function valueFault(name: string, value: string): string | undefined {
  if (value.includes('\0')) return `--${name} must not hold a zero byte`;
  if (value.length > VALUE_CHARS_MAX) return `--${name} is longer than ${VALUE_CHARS_MAX}`;
  if (name === 'note' && value.length > LIMITS.noteChars) {
    return `--note is longer than ${LIMITS.noteChars} characters`;
  }
  if (name !== 'actor') return undefined;
  if (value.length > ACTOR_CHARS_MAX) return `--actor is longer than ${ACTOR_CHARS_MAX}`;
  return /\p{Cc}/u.test(value) ? '--actor must not hold control characters' : undefined;
}

function usage(reason: string): Result<never> {
  return refuse('USAGE_ERROR', { reason });
}

function clip(word: string): string {
  return word.length > 100 ? `${word.slice(0, 100)}…` : word;
}
