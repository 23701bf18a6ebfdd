import { symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prepareUnitCode } from './code.ts';
import { createPlace } from './testdata/place.ts';

let place: Awaited<ReturnType<typeof createPlace>>;
beforeAll(async () => {
  place = await createPlace({
    'notes.md': 'one apple\ntwo pears\nthree Apples\n',
    'docs/a.md': '# A\napple pie\n',
    'docs/deep/b.txt': 'nothing here\n',
    'bin.dat': 'apple\0binary',
    'long.txt': `${'x'.repeat(99)}\n`.repeat(500),
  });
});
afterAll(() => place[Symbol.dispose]());

const one = async (name: string, input: Record<string, unknown> | string[], more = {}) => {
  const played = await place.play([[[name, input]]], more);
  return { ...played.results[0], report: played.reports[0], played };
};

describe('tools', () => {
  test.each([
    ['ls', [], 0, 'bin.dat\ndocs\nlong.txt\nnotes.md'],
    ['ls', ['docs'], 0, 'a.md\ndeep'],
    ['ls', ['-R', 'docs'], 0, 'docs:\na.md\ndeep\n\ndocs/deep:\nb.txt\n'],
    ['ls', ['nowhere'], 1, 'ls: nowhere: no such file or folder'],
    ['cat', ['docs/../notes.md'], 0, 'one apple\ntwo pears\nthree Apples'],
    ['cat', ['-n', 'docs/a.md'], 0, '     1  # A\n     2  apple pie'],
    ['cat', ['docs', 'docs/a.md'], 1, 'docs: is a folder\n# A\napple pie'],
    ['cat', ['bin.dat'], 0, '[bin.dat: binary, 12 bytes]'],
    ['grep', ['-in', '^.*APPLE', 'notes.md'], 0, '1:one apple\n3:three Apples'],
    [
      'grep',
      ['-r', 'apple', '.'],
      0,
      expect.stringMatching(/^bin.dat: binary file matches\nnotes.md:one apple\n/),
    ],
    ['grep', ['-rc', 'apple', 'docs'], 0, 'docs/a.md:1\ndocs/deep/b.txt:0'],
    ['grep', ['-F', '-m', '1', 'p', 'notes.md'], 0, 'one apple'],
    ['grep', ['zzz', 'notes.md'], 1, ''],
    ['grep', ['(', 'notes.md'], 2, 'grep: the pattern is not a regular expression'],
    ['find', ['-name', '*.md'], 0, 'notes.md\ndocs/a.md'],
    ['find', ['docs', '-type', 'd'], 0, 'docs\ndocs/deep'],
    ['find', ['.', '-maxdepth', '1', '-type', 'f', '-name', 'n*'], 0, 'notes.md'],
    ['head', ['-n1', 'notes.md'], 0, 'one apple'],
    ['head', ['-c', '3', 'notes.md'], 0, 'one'],
    ['tail', ['-n', '1', 'notes.md'], 0, 'three Apples'],
    ['tail', ['--follow', 'notes.md'], 2, expect.stringMatching(/^tail: option --follow/)],
  ])('%s %j', async (name, args, exit, output) => {
    const done = await one(name, args);
    expect(done.output).toEqual(output);
    expect(done.exit).toBe(exit);
    expect(done.report).toMatchObject({ index: 0, command: name, exit });
    expect(done.report?.line).toBe([name, ...args.map((arg) => shell(arg))].join(' '));
  });

  const shell = (arg: string) => (/^[\w./:=@%+,*-]+$/.test(arg) ? arg : JSON.stringify(arg));

  test('output is cut at the cap of a call, and told', async () => {
    const { output } = await one('cat', ['long.txt'], { limits: { callBytes: 300 } });
    expect(output).toBe(`${`${'x'.repeat(99)}\n`.repeat(3)}\n[output cut at 300 bytes]`);
  });

  test('a pattern that takes for ever is stopped, and the unit goes on', async () => {
    place.put('evil.txt', `${'a'.repeat(40)}!\n`);
    const began = performance.now();
    const { results } = await place.play(
      [[['grep', ['^(a+)+$', 'evil.txt']]], [['head', ['-n', '1', 'notes.md']]]],
      { limits: { callMs: 300 } },
    );
    expect(results[0]).toMatchObject({ exit: 124, output: 'grep: stopped after 300 ms' });
    expect(results[1]).toMatchObject({ exit: 0, output: 'one apple' });
    expect(performance.now() - began).toBeLessThan(3_000);
    expect((await one('grep', ['a'.repeat(256), 'notes.md'])).exit).toBe(1);
    expect((await one('grep', ['a'.repeat(257), 'notes.md'])).exit).toBe(2);
  });

  test('write: under outputs/ only', async () => {
    const { results, writes, reports } = await place.play([
      [
        ['write', { path: 'outputs/x.md', text: 'mine' }],
        ['write', { path: 'notes.md', text: 'no' }],
        ['write', { path: 'outputs/../notes.md', text: 'no' }],
        ['write', { path: '/tmp/x', text: 'no' }],
        ['write', { path: 'outputs/.git/config', text: 'no' }],
        ['write', { path: 5, text: 'no' }],
      ],
    ]);
    expect(results.map(({ exit }) => exit)).toEqual([0, 126, 126, 126, 126, 2]);
    expect(writes).toEqual({ 'outputs/x.md': 'mine' });
    expect(reports[1]?.denied).toBe('"notes.md" is not under outputs/');
  });
});

describe('check 29: what is out of bounds is denied, and told', () => {
  test.each([
    ['cat', ['/etc/passwd'], 'outside'],
    ['cat', ['../outside.txt'], 'outside'],
    ['cat', ['docs/../../outside.txt'], 'outside'],
    ['ls', ['..'], 'outside'],
    ['cat', ['.git'], 'hidden'],
    ['ls', ['docs/.GIT/refs'], 'hidden'],
    ['find', ['/', '-name', 'passwd'], 'outside'],
    ['grep', ['-r', 'x', '/etc'], 'outside'],
    ['head', ['a\0b'], 'NUL'],
  ])('%s %j', async (name, args, why) => {
    const { exit, output, report } = await one(name, args);
    expect(exit).toBe(126);
    expect(output).toContain(why);
    expect(report?.denied).toContain(why);
    expect(output).not.toContain('root:');
  });

  test.each(['curl', 'sh', 'constructor', '__proto__', 'toString'])('no tool %s', async (name) => {
    const { exit, report } = await one(name, ['http://127.0.0.1']);
    expect(exit).toBe(127);
    expect(report?.denied).toContain('there is no tool');
  });

  test('git is not listed, links are not followed', async () => {
    symlinkSync('/etc', join(place.root, 'etc'));
    symlinkSync('/etc/passwd', join(place.root, 'passwd.txt'));
    const { results } = await place.play([
      [
        ['ls', ['-la']],
        ['cat', ['passwd.txt']],
        ['cat', ['etc/passwd']],
        ['ls', ['etc']],
        ['grep', ['-r', 'root:', '.']],
        ['find', ['.']],
      ],
    ]);
    unlinkSync(join(place.root, 'etc'));
    unlinkSync(join(place.root, 'passwd.txt'));
    expect(results.map(({ exit }) => exit)).toEqual([0, 126, 126, 126, 1, 0]);
    const all = results.map(({ output }) => output).join('\n');
    expect(all).not.toContain('root:x');
    expect(all).not.toContain('.git');
    expect(results[5]?.output).not.toContain('etc/');
  });

  test('a link that is planted while the unit runs', async () => {
    const link = join(place.root, 'planted');
    const { results } = await place.play(
      [[['cat', ['planted']]], [['cat', ['planted']]], [['ls', ['notes.md']]]],
      {
        ports: {
          toolCalled: ({ index }) => {
            if (index === 0) symlinkSync(join(place.top, 'outside.txt'), link);
          },
        },
      },
    );
    unlinkSync(link);
    expect(results.map(({ exit }) => exit)).toEqual([1, 126, 0]);
  });

  test('fs_allowlist', async () => {
    const allow = ['docs/*', 'outputs/ok*'];
    const { results, writes } = await place.play(
      [
        [
          ['cat', ['docs/deep/b.txt']],
          ['cat', ['notes.md']],
          ['ls', []],
          ['find', []],
          ['grep', ['-r', 'apple', '.']],
          ['write', { path: 'outputs/ok.md', text: 'y' }],
          ['write', { path: 'outputs/no.md', text: 'n' }],
        ],
      ],
      { allow },
    );
    expect(results.map(({ exit }) => exit)).toEqual([0, 126, 0, 0, 0, 0, 126]);
    expect(results[2]?.output).toBe('docs');
    expect(results[3]?.output).not.toContain('notes.md');
    expect(results[4]?.output).toBe('docs/a.md:apple pie');
    expect(Object.keys(writes)).toEqual(['outputs/ok.md']);
    const nothing = await place.play([[['cat', ['notes.md']]]], { allow: ['/', '../'] });
    expect(nothing.results[0]?.exit).toBe(126);
  });

  test('an output that the allowlist does not cover ends the order', async () => {
    const outputs = [{ path: 'outputs/x.md', text: 'x' }];
    await expect(place.play([], { allow: ['docs/'], outputs })).rejects.toMatchObject({
      code: 'TOOL_POLICY_VIOLATION',
    });
    await expect(place.play([], { allow: ['docs/'], wanted: ['notes.md'] })).rejects.toMatchObject({
      code: 'TOOL_POLICY_VIOLATION',
    });
  });
});

describe('caps', () => {
  test('at the limit all calls run, the next is refused', async () => {
    const call: [string, string[]] = ['head', ['-n', '1', 'notes.md']];
    const { results, reports } = await place.play([[call, call], [call]], {
      limits: { toolCalls: 2 },
    });
    expect(results.map(({ exit }) => exit)).toEqual([0, 0, 125]);
    expect(reports.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(reports[2]?.denied).toContain('2 calls');
  });

  test('bytes of all calls', async () => {
    const call: [string, string[]] = ['cat', ['notes.md']];
    const bytes = Buffer.byteLength('one apple\ntwo pears\nthree Apples');
    const { results } = await place.play([[call, call, call]], {
      limits: { toolBytes: 2 * bytes },
    });
    expect(results.map(({ exit }) => exit)).toEqual([0, 0, 125]);
  });
});

test('the files of the order go before the model; what is absent is noted', async () => {
  const wanted = ['docs/*', 'absent.md', 'bin.dat', 'empty/*', 'long.txt'];
  const { asked, end } = await place.play([], { wanted, limits: { fileBytes: 1_000 } });
  expect(asked).toEqual([{ path: 'docs/a.md', text: '# A\napple pie\n' }]);
  expect(end).toEqual({
    kind: 'done',
    notes: [
      'empty/* matches no file.',
      'absent.md is not there.',
      'bin.dat is not text and was left out.',
      'long.txt is too large to be read.',
    ],
  });
});

test('folders that are reached through a link of the host', async () => {
  const link = join(place.top, 'link');
  symlinkSync(place.top, link);
  const codePath = await prepareUnitCode(join(link, 'code'));
  const { results } = await place.play([[['head', ['-n1', 'notes.md']]]], {
    host: { codePath },
    root: join(link, 'worktree'),
  });
  expect(results[0]).toEqual({ id: 'call-head', exit: 0, output: 'one apple' });
});

test('a unit that is blocked says why and ends', async () => {
  const { end } = await place.play([[['blocked', { reason: 'the prices are missing' }]]]);
  expect(end).toEqual({ kind: 'blocked', reason: 'the prices are missing' });
});
