import { GIB, MIB, type StreamDeclaration } from './declaration.ts';

const HEAD = ['stream', 'subjects', 'retention', 'at a limit', 'limits', 'ids kept', 'also'];

/** The table of README.md, in Markdown. */
export function streamsTable(streams: readonly StreamDeclaration[]): string {
  const rows = [HEAD, HEAD.map(() => '---'), ...streams.map(row)];
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function row(stream: StreamDeclaration): string[] {
  return [
    stream.name,
    stream.subjects.map((subject) => `\`${subject}\``).join('<br>'),
    stream.retention,
    stream.discard === 'new' ? 'refuses the new' : 'drops the oldest',
    limits(stream).join(', '),
    duration(stream.duplicateWindowMs),
    flags(stream).join(', '),
  ];
}

function limits(stream: StreamDeclaration): string[] {
  const list = [stream.maxBytes > 0 ? size(stream.maxBytes) : 'no size'];
  list.push(stream.maxAgeMs > 0 ? duration(stream.maxAgeMs) : 'no age');
  if (stream.maxMsgBytes > 0) list.push(`${size(stream.maxMsgBytes)} a message`);
  if (stream.maxMsgsPerSubject !== undefined) list.push(`${stream.maxMsgsPerSubject} a subject`);
  return list;
}

function flags(stream: StreamDeclaration): string[] {
  const list: string[] = [];
  if (stream.denyDelete) list.push('no delete');
  if (stream.denyPurge) list.push('no purge');
  if (stream.discardNewPerSubject) list.push('refuses a used subject');
  if (stream.allowAtomic) list.push('atomic batches');
  if (stream.allowSchedules) list.push('schedules');
  if (stream.allowMsgTtl) list.push('TTL by message');
  if (stream.allowRollup) list.push('roll-up');
  return list;
}

function size(bytes: number): string {
  if (bytes % GIB === 0) return `${bytes / GIB} GiB`;
  if (bytes % MIB === 0) return `${bytes / MIB} MiB`;
  return `${bytes / 1024} KiB`;
}

function duration(ms: number): string {
  if (ms % 86_400_000 === 0) return `${ms / 86_400_000} d`;
  return `${ms / 60_000} min`;
}
