import { expect, test } from 'vitest';
import { isMissionBranch, missionRef } from './mission-ref.ts';

test.each([
  ['kitty/mission-064-demo', true],
  ['kitty/mission-064-demo-lane-a', true],
  ['kitty/review-064-demo-WP01', true],
  ['kitty/review-064-demo', false],
  ['kitty/mission-064-demos', false],
  ['kitty/mission-064', false],
  ['kitty/mission-064-demo-', false],
  ['kitty/mission-064-demo-a/b', false],
  ['kitty/mission-064-demo-a..b', false],
  ['refs/heads/kitty/mission-064-demo', false],
  ['main', false],
  ['', false],
])('%s is a branch of mission 064-demo: %s', (name, expected) => {
  expect(isMissionBranch('064-demo', name)).toBe(expected);
});

const ref = {
  project_uuid: '3f2b8c1e-6f0a-4d7b-9a55-0c1d2e3f4a5b',
  mission_slug: '064-demo',
  wp_id: 'WP01',
  wp_event_id: '01JZ0000000000000000000000',
  branch: 'kitty/mission-064-demo-lane-a',
};

test.each([
  [{}, true],
  [{ project_uuid: 'x' }, false],
  [{ mission_slug: '../x' }, false],
  [{ mission_slug: 'a..b' }, false],
  [{ mission_slug: 'a.lock' }, false],
  [{ wp_id: 'WP1' }, false],
  [{ wp_event_id: '' }, false],
  [{ branch: 'x'.repeat(161) }, false],
  [{ more: 1 }, false],
])('a reference with %j is taken: %s', (change, expected) => {
  expect(missionRef.safeParse({ ...ref, ...change }).success).toBe(expected);
});
