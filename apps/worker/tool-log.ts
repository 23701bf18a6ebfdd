import { createHash } from 'node:crypto';
import type { PayloadOf } from '#libs/contracts';
import type { ToolReport } from '#libs/units';

/** A tool call as the report lists it. */
export type ToolEntry = Omit<ToolReport, 'kind'>;

export type ToolLog = {
  add: (report: ToolReport) => void;
  entries: () => readonly ToolEntry[];
  /** No more calls; resolves when those so far have been stored or given up. */
  end: () => Promise<void>;
};

function entryOf({ index, command, line, exit, bytes_in, bytes_out, ...rest }: ToolReport) {
  const { duration_ms, denied } = rest;
  const sizes = { bytes_in, bytes_out, duration_ms };
  return { index, command, line, exit, ...sizes, ...(denied !== undefined && { denied }) };
}

/** Calls are told together, this long after the first of them. */
const FLUSH_MS = 250;

/** Tells each tool call, in order; `emit` must not reject. */
export function createToolLog(
  attempt: number,
  emit: (payloads: PayloadOf<'TOOL_CALLED'>[]) => Promise<void>,
  flushMs = FLUSH_MS,
): ToolLog {
  const entries: ToolEntry[] = [];
  let waiting: PayloadOf<'TOOL_CALLED'>[] = [];
  let timer: NodeJS.Timeout | undefined;
  let sending = Promise.resolve();
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    const batch = waiting;
    waiting = [];
    if (batch.length > 0) sending = sending.then(() => emit(batch));
  };
  return {
    add: (report) => {
      const entry = entryOf(report);
      entries.push(entry);
      const { line, ...facts } = entry;
      const args_sha256 = createHash('sha256').update(line).digest('hex');
      waiting.push({ attempt, ...facts, args_sha256 });
      timer ??= setTimeout(flush, flushMs);
    },
    entries: () => entries,
    end: () => {
      flush();
      return sending;
    },
  };
}
