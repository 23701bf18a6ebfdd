import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { COMMANDS, parseCommand } from './flags.ts';

const names = Object.keys(COMMANDS);
const read = (...words: string[]) => {
  const parsed = parseCommand(words);
  return parsed.ok ? parsed.value.flags : parsed.error.message;
};

describe('flags', () => {
  test('values, with = or as the next word; toggles; the last one counts', () => {
    expect(read('mission-state', '--mission=a=b')).toEqual({ mission: 'a=b' });
    expect(read('mission-state', '--mission', '-a')).toEqual({ mission: '-a' });
    expect(read('mission-state', '--mission', 'a', '--mission', '')).toEqual({ mission: '' });
    const move = ['transition', '--mission', 'm', '--wp', 'WP01', '--actor', 'a', '--to', 'done'];
    expect(read(...move, '--no-subtasks-complete', '--force')).toMatchObject({
      'subtasks-complete': false,
      force: true,
    });
  });

  test.each([
    [['mission-state', '--mission', '--policy', 'p'], '--mission needs a value'],
    [['mission-state', '--mission', 'm', '-x'], '-x is not expected'],
    [['mission-state', '--mission', 'm', '--constructor', 'p'], 'there is no flag --constructor'],
    [['toString', '--mission', 'm'], 'there is no command toString'],
    [['merge-mission', '--mission', 'm', '--push=yes'], '--push takes no value'],
    [['merge-mission', '--mission', 'm', '--no-push'], 'there is no flag --no-push'],
    [['accept-mission', '--mission', 'm', '--actor', 'a\nb'], 'control characters'],
    [['accept-mission', '--mission', 'm', '--actor', 'a'.repeat(201)], 'longer than 200'],
    [['mission-state', '--mission', 'a\0'], 'zero byte'],
  ])('%j: %s', (words, reason) => {
    expect(read(...words)).toContain(reason);
  });

  test('any words are read or refused as a usage error, and only known flags come through', () => {
    const word = fc.oneof(
      fc.constantFrom(...names, '--mission', '--wp', '--actor', '--to', '--note', '--force'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), (words) => {
        const parsed = parseCommand(words);
        if (!parsed.ok) return parsed.error.code === 'USAGE_ERROR';
        const table: Record<string, unknown> = COMMANDS[parsed.value.command];
        return Object.keys(parsed.value.flags).every((name) => Object.hasOwn(table, name));
      }),
    );
  });
});
