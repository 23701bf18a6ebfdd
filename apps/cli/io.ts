import type { Env } from './env.ts';

/** Where a command reads its surroundings and writes its words. */
export type Io = {
  /** One line, or several, to stdout: the result. */
  out(text: string): void;
  /** One line, or several, to stderr: progress, hints and errors. */
  err(text: string): void;
  env: Env;
  /** Colours are for terminals alone, and for none where NO_COLOR is set. */
  colours: { out: boolean; err: boolean };
};

/** The terminal, or the pipes, of this process. */
export function processIo(): Io {
  const { stdout, stderr, env } = process;
  const plain = Boolean(env.NO_COLOR) || env.TERM === 'dumb';
  // A reader that has gone, as `head`, wants no more of it.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  return {
    out: (text) => void stdout.write(`${text}\n`),
    err: (text) => void stderr.write(`${text}\n`),
    env,
    colours: { out: stdout.isTTY === true && !plain, err: stderr.isTTY === true && !plain },
  };
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Colour = keyof typeof CODES;

/** The text in a colour, or as it is where colours are off. */
export function paint(on: boolean, colour: Colour, text: string): string {
  return on ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text;
}
