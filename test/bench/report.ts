import { availableParallelism, cpus, loadavg } from 'node:os';
import { median, type Pairs, ratiosOf } from './stats.ts';

/** One figure, and what it is compared with. */
export type Row = {
  /** Stable, for programs. */
  id: string;
  what: string;
  unit: string;
  /** Medians. */
  raw: number;
  ours: number;
  /** Median of the ratios pair by pair, and these. */
  ratio: number;
  ratios: number[];
  goal: number | null;
  met: boolean | null;
  note: string;
};

/** What one role holds in memory. */
export type MemoryRow = {
  role: string;
  /** When it had just started on an empty ledger; null where that was not looked at. */
  empty_mib: number | null;
  rss_mib: number;
  peak_mib: number;
  /** Events of the ledger that it had worked through by then; null: it follows none. */
  handled: number | null;
  events: number;
  /** After the start, until it was level; null: it was not, or follows none. */
  level_after_s: number | null;
};

export type Report = {
  bench: string;
  at: string;
  machine: { node: string; cpu: string; cores: number; load_before: number; broker: string };
  options: { quick: boolean; sync: string; events: number };
  seconds: number;
  rows: Row[];
  memory: MemoryRow[];
};

/** What is given for a row beside its measurements. */
export type RowText = Pick<Row, 'id' | 'what' | 'unit'> & { goal?: number; note?: string };

/** A row of measurements in pairs. */
export function pairRow(text: RowText, pairs: Pairs): Row {
  const ratios = ratiosOf(pairs);
  const ratio = median(ratios);
  const goal = text.goal ?? null;
  return {
    id: text.id,
    what: text.what,
    unit: text.unit,
    raw: median(pairs.raw),
    ours: median(pairs.ours),
    ratio,
    ratios,
    goal,
    met: goal === null ? null : ratio >= goal,
    note: text.note ?? '',
  };
}

export function machineNow(broker: string): Report['machine'] {
  return {
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    load_before: round(loadavg()[0] ?? 0, 2),
    broker,
  };
}

/** The report for people. */
export function formatReport(report: Report): string {
  const { machine, options } = report;
  const lines = [
    `bench ${report.bench} · ${machine.cores} cores · ${machine.cpu} · node ${machine.node}` +
      ` · nats-server ${machine.broker} · sync ${options.sync}` +
      ` · load before ${machine.load_before} · ${Math.round(report.seconds)} s` +
      `${options.quick ? ' · quick: no figures to quote' : ''}`,
  ];
  if (report.rows.length > 0) lines.push('', ...table(ROW_HEADS, report.rows.map(rowCells)));
  if (report.memory.length > 0) {
    lines.push('', ...table(MEMORY_HEADS, report.memory.map(memoryCells)));
  }
  const notes = report.rows.filter(({ note }) => note !== '');
  if (notes.length > 0) lines.push('', ...notes.map(({ what, note }) => `${what}: ${note}`));
  return `${lines.join('\n')}\n`;
}

const ROW_HEADS = ['figure', 'raw', 'ours', 'unit', 'ratio', 'pairs', 'goal', ''];

function rowCells(row: Row): string[] {
  return [
    row.what,
    number(row.raw),
    number(row.ours),
    row.unit,
    row.ratio.toFixed(2),
    `${Math.min(...row.ratios).toFixed(2)}–${Math.max(...row.ratios).toFixed(2)}`,
    row.goal === null ? '' : `≥ ${row.goal}`,
    row.met === null ? '' : row.met ? 'met' : 'not met',
  ];
}

const MEMORY_HEADS = [
  'role',
  'empty MiB',
  'after MiB',
  'peak MiB',
  'events handled',
  'level after s',
];

function memoryCells(row: MemoryRow): string[] {
  const handled =
    row.handled === null ? 'follows none' : `${number(row.handled)} of ${number(row.events)}`;
  return [
    row.role,
    row.empty_mib === null ? '–' : row.empty_mib.toFixed(0),
    row.rss_mib.toFixed(0),
    row.peak_mib.toFixed(0),
    handled,
    row.level_after_s === null ? '–' : row.level_after_s.toFixed(1),
  ];
}

function table(heads: readonly string[], rows: readonly string[][]): string[] {
  const widths = heads.map((head, i) =>
    Math.max(head.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(heads), ...rows.map(line)];
}

/** Whole above ten, else one digit more; thousands apart. */
function number(value: number): string {
  return (Math.abs(value) < 10 ? round(value, 2) : Math.round(value)).toLocaleString('en-US');
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
