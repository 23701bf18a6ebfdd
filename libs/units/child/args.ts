/** A command line that a tool does not understand. */
export class Usage extends Error {}

/** Arguments, taken apart. */
export type Parsed = { flags: Set<string>; values: Map<string, string>; rest: string[] };

/**
 * Splits arguments into single-letter options and the rest; `--` ends the options.
 * @param flags letters that stand alone and may be joined, as in `-la`
 * @param valued letters that take a value, as in `-n 5` or `-n5`
 * @throws {Usage} an option that is not in `flags` or `valued`
 */
export function parseArgs(args: readonly string[], flags: string, valued = ''): Parsed {
  const parsed: Parsed = { flags: new Set(), values: new Map(), rest: [] };
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? '';
    if (arg === '--') {
      parsed.rest.push(...args.slice(at + 1));
      break;
    }
    if (!arg.startsWith('-') || arg === '-') {
      parsed.rest.push(arg);
      continue;
    }
    for (let letter = 1; letter < arg.length; letter += 1) {
      const name = arg[letter] ?? '';
      if (flags.includes(name)) {
        parsed.flags.add(name);
      } else if (valued.includes(name)) {
        const joined = arg.slice(letter + 1);
        const value = joined === '' ? args[(at += 1)] : joined;
        if (value === undefined) throw new Usage(`option -${name} needs a value`);
        parsed.values.set(name, value);
        break;
      } else {
        throw new Usage(`option ${arg.slice(0, 40)} is not known; known: ${known(flags, valued)}`);
      }
    }
  }
  return parsed;
}

function known(flags: string, valued: string): string {
  const named = (letters: string, end: string) =>
    letters.split('').map((letter) => `-${letter}${end}`);
  return [...named(flags, ''), ...named(valued, ' N')].join(' ');
}

/** A whole number of 0 to `max`. @throws {Usage} */
export function count(text: string | undefined, missing: number, max: number): number {
  if (text === undefined) return missing;
  if (!/^\d{1,9}$/.test(text)) throw new Usage(`${text.slice(0, 40)} is not a count`);
  return Math.min(Number(text), max);
}
