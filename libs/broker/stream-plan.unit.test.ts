import type { StreamConfig } from '@nats-io/jetstream';
import { DEAD, JOBS, LEDGER, STREAMS, type StreamDeclaration, TIMERS } from '#streams';
import { describe, expect, test } from 'vitest';
import { planUpdate, type StreamUse, toStreamConfig } from './stream-plan.ts';

const NOW = Date.parse('2026-11-20T10:00:00Z');
const DAY_MS = 86_400_000;
const EMPTY: StreamUse = {
  messages: 0,
  bytes: 0,
  num_subjects: 0,
  first_ts: '0001-01-01T00:00:00Z',
};
const USED: StreamUse = {
  messages: 10,
  bytes: 5_000,
  num_subjects: 5,
  first_ts: '2026-11-10T10:00:00Z',
};

function plan(stream: StreamDeclaration, drift: Partial<StreamConfig>, use = USED) {
  return planUpdate(stream, { ...toStreamConfig(stream), ...drift }, use, NOW);
}

test.each(STREAMS)('$name as declared needs nothing', (stream) => {
  expect(plan(stream, {})).toEqual({
    stream: stream.name,
    action: 'none',
    changes: [],
    reason: '',
  });
});

test('defaults that a server leaves out and the order of subjects are no drift', () => {
  const stream: StreamDeclaration = { ...TIMERS, compression: 'none', description: '' };
  const have = toStreamConfig(stream);
  have.subjects = have.subjects?.toReversed() ?? [];
  for (const field of ['compression', 'deny_delete', 'allow_atomic', 'max_age'] as const) {
    delete have[field];
  }
  delete have.description;
  expect(planUpdate(stream, have, USED, NOW).action).toBe('none');
});

test('fields that are not declared are left to the operator', () => {
  expect(plan(LEDGER, { placement: { tags: ['ssd'], cluster: '' } }).action).toBe('none');
});

describe('changes that lose nothing', () => {
  test.each<[string, StreamDeclaration, Partial<StreamConfig>]>([
    ['description', LEDGER, { description: 'other' }],
    ['duplicate_window', LEDGER, { duplicate_window: 1e9 }],
    ['a raised limit', JOBS, { max_bytes: 1_000 }],
    ['a lowered limit that still has room', JOBS, { max_bytes: -1 }],
    ['an age that is lifted', LEDGER, { max_age: 1e9 }],
    ['a protection switched on', LEDGER, { deny_delete: false }],
    ['a new subject', TIMERS, { subjects: ['tmr.v1.*.*'] }],
    ['more replicas', { ...LEDGER, replicas: 3 }, { num_replicas: 1 }],
  ])('%s', (_name, stream, drift) => {
    const result = plan(stream, drift);
    expect(result.action).toBe('update');
    expect(result.changes.map(({ field }) => field)).toEqual(Object.keys(drift));
  });
});

describe('changes that a person must make', () => {
  test.each<[string, StreamDeclaration, Partial<StreamConfig>, RegExp]>([
    ['retention', JOBS, { retention: 'limits' }, /retention is never changed/],
    ['storage', JOBS, { storage: 'memory' }, /storage is never changed/],
    ['a protection switched off', JOBS, { deny_delete: true }, /deny_delete cannot be switched/],
    ['fewer replicas', LEDGER, { num_replicas: 3 }, /fewer replicas/],
    ['a subject taken away', JOBS, { subjects: ['job.v1.*.*', 'x'] }, /no longer take x/],
    ['fewer bytes than held', { ...JOBS, maxBytes: 4_999 }, { max_bytes: -1 }, /holds 5000 bytes/],
    ['age', { ...DEAD, maxAgeMs: 9 * DAY_MS }, { max_age: 0 }, /older than/],
    ['a subject', { ...DEAD, maxMsgsPerSubject: 1 }, { max_msgs_per_subject: -1 }, /more than 1/],
  ])('%s', (_name, stream, drift, reason) => {
    const result = plan(stream, drift);
    expect(result.action).toBe('blocked');
    expect(result.reason).toMatch(reason);
  });

  test('one blocked field blocks the stream, and all changes are listed', () => {
    const result = plan(JOBS, { retention: 'limits', description: 'other' });
    expect(result.action).toBe('blocked');
    expect(result.changes.map(({ field }) => field)).toEqual(['description', 'retention']);
  });

  test('at the limit there is room, one below there is not', () => {
    const drift = { max_bytes: -1 };
    expect(plan({ ...JOBS, maxBytes: 5_000 }, drift).action).toBe('update');
    expect(plan({ ...JOBS, maxBytes: 4_999 }, drift).action).toBe('blocked');
    expect(plan({ ...DEAD, maxAgeMs: 10 * DAY_MS }, { max_age: 0 }).action).toBe('update');
    expect(plan({ ...DEAD, maxAgeMs: 10 * DAY_MS - 1 }, { max_age: 0 }).action).toBe('blocked');
  });

  test('an empty stream may lose subjects and ages', () => {
    expect(plan(JOBS, { subjects: ['x'] }, EMPTY).action).toBe('update');
    expect(plan({ ...DEAD, maxAgeMs: 1 }, { max_age: 0 }, EMPTY).action).toBe('update');
  });
});
