import { printable } from './format.ts';
import { paint } from './io.ts';
import type { LogRecord } from './supervisor/log-file.ts';

/** A log record of another process as one line. */
export function problemLine(colours: boolean, name: string, record: LogRecord): string {
  const isError = record.level >= 50;
  const level = paint(colours, isError ? 'red' : 'yellow', isError ? 'error' : 'warning');
  const { message } = (record.err ?? {}) as { message?: string };
  const why = message === undefined ? '' : `: ${message}`;
  return `${level} ${name}: ${printable(`${record.msg ?? ''}${why}`)}`;
}
