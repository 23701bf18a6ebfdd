import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

const BYTES_MAX = 16 * 1024 * 1024;
const WARN = 40;

/** One line of a log, as JSON. */
export type LogRecord = { level: number; msg: string; [field: string]: unknown };

export type LogFile = {
  readonly path: string;
  /** One or more whole lines of JSON; a line that is none is wrapped as a warning. */
  write(lines: string): void;
  close(): void;
};

export type LogFileOptions = {
  path: string;
  /** Stands in records that wrap other text. */
  name: string;
  /** Called for warnings and errors. */
  onProblem: (record: LogRecord) => void;
  bytesMax?: number;
};

/**
 * A log of JSON lines, at most `bytesMax` (default 16 MiB) long: then, and at the start, it becomes
 * `<path>.1` in place of the one before.
 */
export function openLogFile(options: LogFileOptions): LogFile {
  const { path, name, onProblem, bytesMax = BYTES_MAX } = options;
  mkdirSync(dirname(path), { recursive: true });
  if (existsSync(path) && statSync(path).size > 0) renameSync(path, `${path}.1`);
  let file: number | undefined = openSync(path, 'a', 0o600);
  let written = 0;
  return {
    path,
    write(lines) {
      for (const line of lines.split('\n')) {
        if (line.trim() === '' || file === undefined) continue;
        const { record, text } = read(line, name);
        if (written + text.length > bytesMax) {
          closeSync(file);
          renameSync(path, `${path}.1`);
          file = openSync(path, 'a', 0o600);
          written = 0;
        }
        written += writeSync(file, `${text}\n`);
        if (record.level >= WARN) onProblem(record);
      }
    },
    close() {
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}

function read(line: string, name: string): { record: LogRecord; text: string } {
  try {
    const value = JSON.parse(line) as Partial<LogRecord> | null;
    if (typeof value?.level === 'number') return { record: value as LogRecord, text: line };
  } catch {
    // What Node itself says when it dies is no record: it is wrapped below.
  }
  const record = { level: WARN, time: Date.now(), name, msg: line };
  return { record, text: JSON.stringify(record) };
}
