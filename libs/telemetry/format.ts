const LEVELS: Record<number, string> = {
  10: 'TRACE',
  20: 'DEBUG',
  30: 'INFO',
  40: 'WARN',
  50: 'ERROR',
  60: 'FATAL',
};

const COLOURS: Record<string, number> = { WARN: 33, ERROR: 31, FATAL: 31, DEBUG: 90, TRACE: 90 };
const OWN_FIELDS = new Set(['level', 'time', 'pid', 'hostname', 'name', 'msg', 'err']);

/**
 * One log record as a line for people: `10:04:19.123 INFO  ledger  serving HTTP  url=…`.
 * A text that is not a log record comes back as it is.
 */
export function formatLine(line: string, colours: boolean): string {
  const record = readRecord(line);
  if (record === undefined) return line;
  const level = (LEVELS[Number(record.level)] ?? String(record.level)).padEnd(5);
  const colour = colours ? COLOURS[level.trim()] : undefined;
  const head = colour === undefined ? level : `\x1b[${colour}m${level}\x1b[0m`;
  const time = new Date(Number(record.time)).toISOString().slice(11, 23);
  const fields = Object.entries(record)
    .filter(([name]) => !OWN_FIELDS.has(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const said = [record.name, record.msg].filter((part) => typeof part === 'string').join('  ');
  const text = printable([said, fields.join(' ')].filter((part) => part !== '').join('  '));
  return `${time} ${head} ${text}\n${errorLines(record.err)}`;
}

function readRecord(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const time = (value as { time?: unknown } | null)?.time;
    return typeof time === 'number' ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Not one of ours; it is shown as it is.
    return undefined;
  }
}

function errorLines(err: unknown): string {
  if (typeof err !== 'object' || err === null) return '';
  const { stack, message } = err as { stack?: string; message?: string };
  const lines = (stack ?? message ?? '').split('\n');
  return lines.map((line) => `    ${printable(line)}\n`).join('');
}

/** Control characters could move the cursor or clear the screen of whoever reads the log. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
