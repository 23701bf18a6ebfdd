import { paint } from './io.ts';

const CELL_CHARS_MAX = 60;

/** Text of others for a terminal: control characters could move its cursor or clear it. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}

/** At most `chars` characters, the last one an ellipsis where some were cut. */
export function clip(text: string, chars: number): string {
  const all = Array.from(text);
  return all.length <= chars ? text : `${all.slice(0, chars - 1).join('')}…`;
}

function charsOf(text: string): number {
  return Array.from(text).length;
}

/** Columns under their heads; cells are cut at 60 characters. No rows: `none`. */
export function table(
  heads: readonly string[],
  rows: readonly (readonly (string | number | null | undefined)[])[],
  options: { colours: boolean; none: string },
): string {
  if (rows.length === 0) return options.none;
  const cells = rows.map((row) =>
    row.map((cell) => clip(printable(String(cell ?? '-')), CELL_CHARS_MAX)),
  );
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...cells.map((row) => charsOf(row[column] ?? ''))),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - charsOf(cell)))
      .join('  ')
      .trimEnd();
  return [paint(options.colours, 'bold', line(heads)), ...cells.map(line)].join('\n');
}

/** Names and values, one a line; values that are null or undefined are left out. */
export function facts(
  rows: readonly (readonly [string, string | number | null | undefined])[],
): string {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown
    .map(([name, value]) => `${name.padEnd(width)}  ${printable(String(value))}`)
    .join('\n');
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

/** How long ago, in the largest unit that fits, as `5 min ago`; `now` under a second. */
export function ago(timestamp: string | null | undefined, nowMs: number): string {
  if (timestamp == null) return '-';
  const ms = nowMs - Date.parse(timestamp);
  if (Number.isNaN(ms)) return timestamp;
  const unit = UNITS.find(([, size]) => ms >= size);
  return unit === undefined ? 'now' : `${Math.floor(ms / unit[1])} ${unit[0]} ago`;
}

/** A span as `340 ms`, `4.2 s` or `3 min`. */
export function span(ms: number | null | undefined): string {
  if (ms == null) return '-';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 120_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

/** A size as `812 B`, `1.4 KiB` or `3.7 GiB`. */
export function size(bytes: number): string {
  let value = bytes;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (value < 1024 || unit === 'GiB') {
      return `${unit === 'B' ? value : value.toFixed(1)} ${unit}`;
    }
    value /= 1024;
  }
  throw new Error('unreachable');
}
