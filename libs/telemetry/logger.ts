import { type DestinationStream, destination, type Level, type Logger, pino } from 'pino';
import { formatLine } from './format.ts';
import { REDACTED, redactPaths, redactText } from './redact.ts';

export type LoggerOptions = {
  /** Role or program; stands in each record. */
  name: string;
  /** Default `info`. */
  level?: Level | 'silent';
  /** Default: stderr. */
  destination?: DestinationStream;
  /** `json`: one JSON object a line; `text`: one line for people. Default by `env` and stderr. */
  format?: 'json' | 'text';
  /** Read for LOG_FORMAT (`json`) and NO_COLOR; default the process's. */
  env?: Record<string, string | undefined>;
};

/**
 * A logger to stderr: JSON lines, or readable lines where stderr is a terminal and LOG_FORMAT is
 * not `json`. Secrets are taken out by field name and by their look.
 */
export function createLogger(options: LoggerOptions): Logger {
  const env = options.env ?? process.env;
  const terminal = process.stderr.isTTY === true;
  const format = options.format ?? (terminal && env.LOG_FORMAT !== 'json' ? 'text' : 'json');
  const colours = terminal && options.destination === undefined && !env.NO_COLOR;
  // Written at once, so that the last words of a process that dies are not lost.
  const out = options.destination ?? destination({ fd: 2, sync: true });
  const stream: DestinationStream = {
    write(line) {
      const clean = redactText(line);
      out.write(format === 'json' ? clean : formatLine(clean, colours));
    },
  };
  return pino(
    {
      name: options.name,
      level: options.level ?? 'info',
      redact: { paths: redactPaths(), censor: REDACTED },
    },
    stream,
  );
}
