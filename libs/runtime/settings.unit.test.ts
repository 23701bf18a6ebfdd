import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkSettingsFile, configFromEnv, openSettings } from './mod.ts';

let state: string;
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'ironclaw-settings-'));
});
afterEach(() => rmSync(state, { recursive: true, force: true }));

const write = (file: string, value: unknown): string => {
  const path = join(state, file);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
  return path;
};
const refusal = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    const { code, field, message } = error as { code: string; field: string; message: string };
    return { code, field, message };
  }
  throw new Error('nothing was refused');
};

describe('settings in layers', () => {
  test('any set of layers: the highest that says something wins, and is named', () => {
    const value = fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined });
    fc.assert(
      fc.property(value, value, value, value, (file, env, theater, run) => {
        const garrison = write('config.json', file === undefined ? {} : { max_orders: file });
        const path = write('theaters/t/config.json', theater ? { max_orders: theater } : {});
        const settings = openSettings({
          IRONCLAW_STATE: state,
          ...(env !== undefined && { IRONCLAW_MAX_ORDERS: String(env) }),
        });
        const place = { theaterId: 't', ...(run !== undefined && { run: { max_orders: run } }) };
        expect(settings.of(place).max_orders).toBe(run ?? theater ?? env ?? file ?? 32);
        const told = settings.explain(place).find(({ key }) => key === 'max_orders');
        const sources: [unknown, string][] = [
          [run, 'run'],
          [theater, path],
          [env, 'environment'],
          [file, garrison],
          [1, 'default'],
        ];
        expect(told?.source).toBe(sources.find(([given]) => given !== undefined)?.[1]);
        expect(settings.of({ theaterId: 'other' }).max_orders).toBe(env ?? file ?? 32);
      }),
      { numRuns: 60 },
    );
  });

  test('the garrison file holds every setting of a process too, below the environment', () => {
    write('config.json', {
      stall_ms: 5_000,
      profiles: { a: { model: 'm' } },
      theaters: ['x', 'y'],
    });
    const config = configFromEnv({ IRONCLAW_STATE: state, IRONCLAW_THEATERS: 'z' });
    expect(config.watch.stallMs).toBe(5_000);
    expect(config.theaters).toEqual(['z']);
    expect(config.profiles).toHaveProperty('a');
  });

  test('IRONCLAW_CONFIG names another file, which must be there', () => {
    const file = write('elsewhere.json', { ask: true });
    expect(openSettings({ IRONCLAW_STATE: state, IRONCLAW_CONFIG: file }).of().ask).toBe(true);
    const gone = join(state, 'gone.json');
    const env = { IRONCLAW_STATE: state, IRONCLAW_CONFIG: gone };
    expect(refusal(() => openSettings(env))).toMatchObject({ field: gone });
  });

  test.each<[string, unknown, string]>([
    ['no JSON', '{', ''],
    ['a list', [], ''],
    ['an unknown key', { max_order: 1 }, ': max_order'],
    ['a key in capitals', { MAX_ORDERS: 1 }, ': MAX_ORDERS'],
    ['out of bounds', { max_orders: 0 }, ': max_orders'],
    ['of another kind', { ask: 'perhaps' }, ': ask'],
    ['null', { max_orders: null }, ': max_orders'],
    ['where the state lies', { state: '/tmp' }, ': state'],
  ])('a garrison file is refused: %s', (_name, content, key) => {
    const file = write('config.json', content);
    const told = refusal(() => configFromEnv({ IRONCLAW_STATE: state }));
    expect(told).toMatchObject({ code: 'INVALID_REQUEST', field: `${file}${key}` });
    expect(told.message).toContain(file);
  });

  test("a theater's file is checked when a process starts, and holds less", () => {
    const file = write('theaters/t/config.json', { stall_ms: 5 });
    const refused = refusal(() => openSettings({ IRONCLAW_STATE: state }));
    expect(refused.field).toBe(`${file}: stall_ms`);
    write('theaters/t/config.json', { max_depth: 'deep' });
    expect(refusal(() => openSettings({ IRONCLAW_STATE: state })).field).toBe(`${file}: max_depth`);
    expect(refusal(() => checkSettingsFile(file, 'theater')).field).toBe(`${file}: max_depth`);
  });

  test.each<[string, Record<string, string | number | boolean>]>([
    ['a setting of theaters', { playbook: 'default' }],
    ['a setting of the garrison', { stall_ms: 100 }],
    ['no setting', { constructor: 1 }],
    ['out of bounds', { max_orders: 101 }],
  ])('a run may not have %s', (_name, run) => {
    const settings = openSettings({ IRONCLAW_STATE: state });
    const [key] = Object.keys(run);
    expect(refusal(() => settings.of({ run })).field).toBe(`settings.${key}`);
  });

  test('a theater is an id, never a path', () => {
    const settings = openSettings({ IRONCLAW_STATE: state });
    expect(refusal(() => settings.of({ theaterId: '../x' })).field).toBe('theater_id');
  });
});
