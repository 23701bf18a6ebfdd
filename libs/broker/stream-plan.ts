import type { StreamConfig, StreamState } from '@nats-io/jetstream';
import type { StreamDeclaration } from '#streams';
import { fromNanos, toNanos } from './durations.ts';

/** One field in which the server differs from the declaration. */
export type StreamChange = { field: keyof StreamConfig; have: unknown; want: unknown };

/** What has to happen to one stream so that it is as declared. */
export type StreamPlan = {
  stream: string;
  /** `blocked`: a person must decide, because data or a promise would be lost. */
  action: 'create' | 'update' | 'none' | 'blocked';
  changes: StreamChange[];
  /** Why it is blocked, else empty. */
  reason: string;
};

/** The part of a stream's state that decides whether a change is safe. */
export type StreamUse = Pick<StreamState, 'messages' | 'bytes' | 'first_ts' | 'num_subjects'>;

/** The declaration as the server's configuration. */
export function toStreamConfig(stream: StreamDeclaration): Partial<StreamConfig> {
  return {
    name: stream.name,
    description: stream.description,
    subjects: [...stream.subjects],
    retention: stream.retention,
    discard: stream.discard,
    storage: stream.storage,
    compression: stream.compression,
    num_replicas: stream.replicas,
    max_bytes: stream.maxBytes,
    max_age: toNanos(stream.maxAgeMs),
    max_msg_size: stream.maxMsgBytes,
    max_msgs: -1,
    max_msgs_per_subject: stream.maxMsgsPerSubject ?? -1,
    discard_new_per_subject: stream.discardNewPerSubject ?? false,
    duplicate_window: toNanos(stream.duplicateWindowMs),
    deny_delete: stream.denyDelete,
    deny_purge: stream.denyPurge,
    allow_direct: stream.allowDirect,
    allow_atomic: stream.allowAtomic ?? false,
    allow_msg_ttl: stream.allowMsgTtl ?? false,
    allow_msg_schedules: stream.allowSchedules ?? false,
    allow_rollup_hdrs: stream.allowRollup ?? false,
  };
}

/** The plan for a stream that exists; pure. `nowMs` is needed to judge ages. */
export function planUpdate(
  stream: StreamDeclaration,
  have: Partial<StreamConfig>,
  use: StreamUse,
  nowMs: number,
): StreamPlan {
  const want = toStreamConfig(stream);
  const changes: StreamChange[] = [];
  for (const field of Object.keys(want) as (keyof StreamConfig)[]) {
    const change = { field, have: normalise(field, have[field]), want: want[field] };
    if (!isSame(change)) changes.push(change);
  }
  const reasons = changes.map((change) => obstacle(change, use, nowMs)).filter((text) => text);
  if (reasons.length > 0) {
    return { stream: stream.name, action: 'blocked', changes, reason: reasons.join('; ') };
  }
  const action = changes.length > 0 ? 'update' : 'none';
  return { stream: stream.name, action, changes, reason: '' };
}

/** Servers leave out what is false, empty or none. */
function normalise(field: keyof StreamConfig, value: unknown): unknown {
  if (field === 'compression') return value ?? 'none';
  if (field === 'description') return value ?? '';
  if (field.startsWith('deny_') || field.startsWith('allow_')) return value ?? false;
  if (field === 'discard_new_per_subject') return value ?? false;
  if (field === 'max_age') return value ?? 0;
  return field.startsWith('max_') ? value || -1 : value;
}

function isSame({ have, want }: StreamChange): boolean {
  if (!Array.isArray(have) || !Array.isArray(want)) return have === want;
  return have.length === want.length && have.every((item) => want.includes(item));
}

/** Why a change must not be made by a program; empty if it may. */
function obstacle({ field, have, want }: StreamChange, use: StreamUse, nowMs: number): string {
  switch (field) {
    case 'retention':
    case 'storage':
      return `${field} is never changed on a stream that exists`;
    case 'deny_delete':
    case 'deny_purge':
    case 'allow_msg_ttl':
    case 'allow_msg_schedules':
      return want === false ? `${field} cannot be switched off again` : '';
    case 'num_replicas':
      return Number(want) < Number(have) ? 'fewer replicas would weaken what is stored' : '';
    case 'subjects': {
      const gone = (have as string[]).filter((subject) => !(want as string[]).includes(subject));
      const lost = gone.length > 0 && use.messages > 0;
      return lost ? `it holds messages and would no longer take ${gone.join(', ')}` : '';
    }
    case 'max_bytes':
      return limit(want) < use.bytes
        ? `it holds ${use.bytes} bytes, more than ${String(want)}`
        : '';
    case 'max_msgs':
      return limit(want) < use.messages
        ? `it holds ${use.messages} messages, over ${String(want)}`
        : '';
    case 'max_msgs_per_subject': {
      // The counts of single subjects are not known here: only one a subject is surely within.
      const unsure = limit(want) < limit(have) && use.messages > (use.num_subjects ?? 0);
      return unsure ? `a subject may hold more than ${String(want)} messages` : '';
    }
    case 'max_age': {
      if (want === 0 || use.messages === 0) return '';
      const oldestMs = nowMs - Date.parse(String(use.first_ts));
      const limitMs = fromNanos(Number(want));
      return oldestMs > limitMs ? `it holds messages older than ${limitMs} ms` : '';
    }
    default:
      return '';
  }
}

function limit(value: unknown): number {
  return Number(value) > 0 ? Number(value) : Number.POSITIVE_INFINITY;
}
