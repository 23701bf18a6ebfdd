import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  boardOf,
  identityOf,
  openSubtasks,
  subtaskCounts,
  parseMeta,
  parseSelector,
  parseTaskFile,
  renderMeta,
  taskFiles,
  tickSubtask,
  withAcceptance,
  withActivity,
} from './files.ts';
import { parseFrontMatter } from './front-matter.ts';

const TASK = `---
work_package_id: "WP02"
title: 'Build: it''s # fine'   # a remark
dependencies:
  - WP01
  - "WP04"
subtasks: [T001, "T,2"]
execution_mode: code_change
shell_pid: ''
history:
  - at: 2026-04-06
    note: x
agent:
---
# Body
---
text
`;

describe('front matter', () => {
  test('texts, lists inline and in blocks; other shapes are left alone', () => {
    const { values, head, body } = parseFrontMatter(TASK) ?? {
      values: new Map(),
      head: '',
      body: '',
    };
    expect(head + body).toBe(TASK);
    expect(body).toBe('# Body\n---\ntext\n');
    expect(values.get('history')).toBeUndefined();
    expect(parseTaskFile('WP02', TASK)).toEqual({
      wp_id: 'WP02',
      title: "Build: it's # fine",
      dependencies: ['WP01', 'WP04'],
      subtasks: ['T001', 'T,2'],
      executionMode: 'code_change',
    });
  });

  test.each(['', 'no head', '---\nopen: yes\n', '---\ndependencies: WP01\n---\n'])(
    'a file without a usable head has its name: %j',
    (text) => {
      expect(parseTaskFile('WP09', text)).toMatchObject({ title: 'WP09', dependencies: [] });
    },
  );

  test('any text is read without an error, and head and body are the text', () => {
    fc.assert(
      fc.property(fc.string(), (inner) => {
        const text = `---\n${inner}\n---\nbody`;
        const read = parseFrontMatter(text);
        expect((read?.head ?? '') + (read?.body ?? '')).toBe(text);
      }),
    );
  });
});

describe('the layout', () => {
  test.each(['..', '../..', '', '.', 'a/../M', '/etc', 'a\\b', 'a\0', '-x', ' M', 'M/'])(
    'D.10 the selector %j is refused',
    (selector) => {
      const read = parseSelector(selector);
      expect(read.ok ? 'ok' : read.error.code).toBe('MISSION_NOT_FOUND');
    },
  );

  test('D.9 an unknown mission is named', () => {
    const read = parseSelector('../064');
    expect(read.ok ? '' : read.error.message).toBe("Mission '../064' not found in kitty-specs/");
  });

  test('D.8 README.md is no work package; the exact name comes first', () => {
    const names = [
      'README.md',
      'WP02-b.md',
      'WP02-a.md',
      'WP01-x.md',
      'WP01.md',
      'WP1.md',
      'WP03.txt',
    ];
    expect([...taskFiles(names)]).toEqual([
      ['WP01', 'WP01.md'],
      ['WP02', 'WP02-a.md'],
    ]);
  });

  test('a board of texts; the number comes from meta.json, else from the slug', () => {
    expect(
      boardOf('064-demo', parseMeta('{"target_branch":"dev"}'), new Map([['WP02', TASK]])),
    ).toEqual({
      identity: { mission_slug: '064-demo', mission_number: '064', mission_type: 'software-dev' },
      targetBranch: 'dev',
      wps: [{ wp_id: 'WP02', title: "Build: it's # fine", dependencies: ['WP01', 'WP04'] }],
    });
    expect(identityOf('x', { mission_number: 7 }).mission_number).toBe('7');
    expect(identityOf('x', { mission_number: null }).mission_number).toBe('000');
    expect(parseMeta('{')).toBeUndefined();
  });

  test('D.37 meta.json keeps what it had, the last 20 acceptances and no legacy key', () => {
    let meta = withAcceptance({ keep: 1, feature_slug: 'x' }, 'alice', 't0');
    for (let i = 1; i < 25; i += 1) meta = withAcceptance(meta, 'alice', `t${i}`);
    const read = JSON.parse(renderMeta(meta)) as Record<string, unknown[]>;
    expect(read).toMatchObject({ keep: 1, accepted_by: 'alice', accepted_at: 't24' });
    expect(read.acceptance_history).toHaveLength(20);
    expect(Object.keys(read)).not.toContain('feature_slug');
    expect(withAcceptance(meta, 'alice', 't24')).toEqual(meta);
  });
});

describe('tasks.md', () => {
  const TASKS =
    '# T\n\n## Work Package WP01: a\n- [ ] T001 x\n### sub\n- [x] T002 y\n## WP02\n- [ ] T003 z\n';

  test('D.29 open boxes of the own section only', () => {
    expect(openSubtasks(TASKS, 'WP01')).toEqual(['- [ ] T001 x']);
    expect(openSubtasks(TASKS, 'WP03')).toEqual([]);
    expect(openSubtasks(undefined, 'WP01')).toEqual([]);
    const ticked = tickSubtask(TASKS, 'T001', true) ?? '';
    expect(openSubtasks(ticked, 'WP01')).toEqual([]);
    expect(subtaskCounts(TASKS, 'WP01')).toEqual({ open: 1, done: 1 });
    expect(subtaskCounts(ticked, 'WP01')).toEqual({ open: 0, done: 2 });
    expect(subtaskCounts(TASKS, 'WP03')).toEqual({ open: 0, done: 0 });
    expect(tickSubtask(ticked, 'T001', false)).toBe(TASKS);
    expect(tickSubtask(TASKS, 'T00', true)).toBeUndefined();
  });
});

describe('the activity log', () => {
  const at = '2026-04-06T05:39:39.123Z';
  const entry = { at, actor: 'alice', note: 'quotes " $(x) `y` ✓ $1' };
  const line = '- [2026-04-06T05:39:39Z] alice: quotes " $(x) `y` ✓ $1';

  test('D.35 an entry is added at the end, everything else stays', () => {
    const text = `${TASK}\n## Activity Log\n\n- [t] a: b\n`;
    expect(withActivity(text, [entry])).toBe(`${text}${line}\n`);
    expect(withActivity(TASK, [entry])).toBe(`${TASK}\n## Activity Log\n\n${line}\n`);
    const between = `a\n## Activity Log\n\n- x\n\n## Next\n`;
    expect(withActivity(between, [entry])).toBe(`a\n## Activity Log\n\n- x\n${line}\n\n## Next\n`);
  });

  test('mirroring again changes nothing; two equal entries are two', () => {
    const once = withActivity(TASK, [entry, entry]);
    expect(once.split(line)).toHaveLength(3);
    expect(withActivity(once, [entry, entry])).toBe(once);
    const empty = withActivity('## Activity Log\n', [entry]);
    expect(empty).toBe(`## Activity Log\n\n${line}\n`);
  });
});
