import { readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ORCHESTRATOR_ERRORS } from '#libs/contracts';
import { readEnvelope } from './envelope.ts';
import { compileGate, type Gate } from './gate.ts';
import { startImplementation } from './decide.ts';
import { POLICY, script } from './testdata/boards.ts';

const FILE = new URL('../missionlog/upstream-3.0.0-shape.json', import.meta.url);
type Section = Record<string, unknown> & { required_fields: string[]; forbidden_fields: string[] };
type Shape = Record<string, Section> & { orchestrator_api: Record<string, string[]> };
const shape = (): Shape => JSON.parse(readFileSync(FILE, 'utf8')) as Shape;
const gate = compileGate(shape());

function sample(): Record<string, unknown> & { payload: Record<string, unknown> } {
  const it = script();
  it.apply((board, state) =>
    startImplementation(board, state, { wpId: 'WP01', actor: 'a', policy: POLICY }),
  );
  return structuredClone(it.events[0]) as never;
}

/** The field that the gate and the shapes refuse, or `accepted`. */
function verdict(event: unknown, by: Gate = gate): string {
  try {
    readEnvelope(by, 'emit', event);
    return 'accepted';
  } catch (error) {
    const { code, field, details } = error as { code: string; field: string; details: unknown };
    expect(code).toBe('CONTRACT_VIOLATION');
    expect(details).toMatchObject({ context: 'emit', field });
    return field;
  }
}

test('the shipped shape is the one of the seed', () => {
  const text = JSON.stringify(shape());
  expect(createHash('sha256').update(text).digest('hex')).toBe(
    '719417741884f0633e59fdaf06d63023eddbea57bc95c4862cbd340b1eb2936e',
  );
});

describe('envelopes', () => {
  test('D.41 what we emit has the shape of the seed', () => {
    const event = sample();
    expect(verdict(event)).toBe('accepted');
    expect(event).toMatchObject({ schema_version: '3.0.0', aggregate_type: 'WorkPackage' });
    expect(event.build_id).toMatch(/^[0-9a-f-]{36}$/);
    for (const name of ['mission_slug', 'mission_number', 'mission_type']) {
      expect(event.payload[name]).toBeTypeOf('string');
    }
  });

  test.each<[string, object, string]>([
    ['aggregate Feature', { aggregate_type: 'Feature' }, 'aggregate_type'],
    ['aggregate unknown', { aggregate_type: 'Other' }, 'aggregate_type'],
    ['type FeatureCreated', { event_type: 'FeatureCreated' }, 'event_type'],
    ['type FeatureCompleted', { event_type: 'FeatureCompleted' }, 'event_type'],
    ['type FeatureClosed', { event_type: 'FeatureClosed' }, 'event_type'],
    ['type unknown', { event_type: 'Other' }, 'event_type'],
    ['version 2.9.0', { schema_version: '2.9.0' }, 'schema_version'],
    ['no build_id', { build_id: undefined }, 'build_id'],
    ['build_id null', { build_id: null }, 'build_id'],
    ['build_id empty', { build_id: '' }, 'build_id'],
    ['build_id blank', { build_id: '  ' }, 'build_id'],
    ['feature_slug', { feature_slug: 'x' }, 'feature_slug'],
    ['from_lane at the top', { from_lane: 'planned' }, 'from_lane'],
    ['lamport -1', { lamport_clock: -1 }, 'lamport_clock'],
    ['lamport 1.5', { lamport_clock: 1.5 }, 'lamport_clock'],
    ['a legacy aggregate id', { aggregate_id: 'feature/064' }, 'aggregate_id'],
    ['no node_id', { node_id: undefined }, 'node_id'],
    ['a time without zone', { timestamp: '2026-04-06T00:00:00' }, 'timestamp'],
    ['a bad id', { event_id: '01J0000000000000000000000I' }, 'event_id'],
    ['no payload', { payload: undefined }, 'payload'],
  ])('D.42 %s is refused and named', (_name, change, field) => {
    expect(verdict({ ...sample(), ...change })).toBe(field);
  });

  test.each<[string, object, string]>([
    ['feature_number', { feature_number: '64' }, 'payload.feature_number'],
    ['feature_slug', { feature_slug: null }, 'payload.feature_slug'],
    ['no mission_type', { mission_type: undefined }, 'payload.mission_type'],
    ['mission_number empty', { mission_number: '' }, 'payload.mission_number'],
    ['a bad wp_id', { wp_id: 'X' }, 'payload.wp_id'],
    ['force without a reason', { force: true, reason: null }, 'payload.reason'],
  ])('D.42 payload: %s is refused and named', (_name, change, field) => {
    const event = sample();
    expect(verdict({ ...event, payload: { ...event.payload, ...change } })).toBe(field);
  });

  test('what is not an object is refused', () => {
    for (const value of [null, [], 'x', 7]) expect(verdict(value)).toBe('event');
  });
});

describe('the shape', () => {
  test('D.44 a changed rule is enforced', () => {
    const changed = shape();
    changed.envelope?.required_fields.push('x');
    expect(verdict(sample(), compileGate(changed))).toBe('x');
    const version = shape();
    version.envelope = { ...(version.envelope as Section), schema_version: { value: '3.1.0' } };
    expect(verdict(sample(), compileGate(version))).toBe('schema_version');
  });

  test.each([
    ['nothing', {}],
    ['a section that cannot be enforced', { ...shape(), more: {} }],
    ['a section too few', { ...shape(), tracker_bind: undefined }],
    [
      'a list that is none',
      { ...shape(), body_sync: { required_fields: 'x', forbidden_fields: [] } },
    ],
    ['no object', null],
  ])('D.44 %s refuses to start', (_name, value) => {
    expect(() => compileGate(value)).toThrow(
      expect.objectContaining({ code: 'CONTRACT_SHAPE_UNUSABLE' }),
    );
  });

  test('D.49 D.55 bodies and identities: required and filled, nothing forbidden', () => {
    for (const [section, check] of [
      ['body_sync', gate.body],
      ['tracker_bind', gate.tracker],
    ] as const) {
      const { required_fields: required, forbidden_fields: forbidden } = shape()[
        section
      ] as Section;
      const whole = Object.fromEntries(required.map((name) => [name, 'x']));
      check('http out', whole);
      for (const name of required) {
        expect(() => check('http out', { ...whole, [name]: undefined })).toThrow(name);
        expect(() => check('http out', { ...whole, [name]: '' })).toThrow(name);
        expect(() => check('http out', { ...whole, [name]: null })).toThrow(name);
      }
      for (const name of forbidden) {
        expect(() => check('http out', { ...whole, [name]: null })).toThrow(name);
      }
    }
  });

  test('D.3 D.4 commands, flags, codes and answers', () => {
    const ours = Object.entries(ORCHESTRATOR_ERRORS).flatMap(([code, { upstream }]) =>
      upstream ? [] : [code],
    );
    const extended = compileGate(shape(), { commands: ['resolve-workspace'], errorCodes: ours });
    const commands = shape().orchestrator_api.allowed_commands ?? [];
    const errorCodes = Object.keys(ORCHESTRATOR_ERRORS);
    const surface = {
      commands: [...commands, 'resolve-workspace'],
      missionFlag: '--mission',
      flags: ['--mission', '--wp'],
      errorCodes,
    };
    extended.surface(surface);
    expect(() => gate.surface(surface)).toThrow('resolve-workspace');
    for (const name of ['feature-state', 'accept-feature', 'merge-feature', 'constructor']) {
      expect(() => extended.command('cli in', name)).toThrow(name);
      expect(() => extended.surface({ ...surface, commands: [...commands, name] })).toThrow(name);
    }
    expect(() => extended.surface({ ...surface, commands: [] })).toThrow('is not offered');
    expect(() => extended.surface({ ...surface, flags: ['--feature'] })).toThrow('--feature');
    expect(() => extended.surface({ ...surface, missionFlag: '--wp' })).toThrow('--wp');
    expect(() => extended.surface({ ...surface, errorCodes: ['FEATURE_NOT_FOUND'] })).toThrow(
      'FEATURE_NOT_FOUND',
    );
    expect(() => extended.flag('cli in', '--feature')).toThrow('--feature');
    const answer = { error_code: null, namesMission: true };
    extended.answer('cli out', { ...answer, data: { mission_slug: 'm' } });
    expect(() => extended.answer('cli out', { ...answer, data: {} })).toThrow('mission_slug');
    const legacy = { mission_slug: 'm', feature_slug: 'm' };
    expect(() => extended.answer('cli out', { ...answer, data: legacy })).toThrow('feature_slug');
    const wrong = { error_code: 'OTHER', namesMission: false, data: {} };
    expect(() => extended.answer('cli out', wrong)).toThrow('OTHER');
  });

  test('every code that the shape allows is in the catalogue, and the others are marked', () => {
    const allowed = shape().orchestrator_api.allowed_error_codes ?? [];
    const upstream = Object.entries(ORCHESTRATOR_ERRORS).filter(([, entry]) => entry.upstream);
    expect(upstream.map(([code]) => code).sort()).toEqual([...allowed].sort());
  });
});
