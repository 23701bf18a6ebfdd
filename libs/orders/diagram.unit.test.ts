import { expect, test } from 'vitest';
import { EVENT_TYPES } from '#libs/contracts';
import { transitionsMarkdown, transitionsMermaid } from './mod.ts';

test('the tables name every event type that has a transition, once', () => {
  const markdown = transitionsMarkdown();
  const types = [...markdown.matchAll(/^\| ([A-Z_]+) \|/gm)].map((match) => match[1]);
  const moving = /^(RUN|ORDER|WORKTREE|INTEGRATION|RECOVERY|SERVICE)_|^INTEGRATED$/;
  const expected = Object.keys(EVENT_TYPES).filter((type) => moving.test(type));
  expect(types).toHaveLength(expected.length);
  expect(new Set(types)).toEqual(new Set(expected));
  expect(markdown).toContain('| ORDER_ENQUEUED | none, QUEUED | QUEUED |');
});

test('the order diagram begins at ORDER_CREATED and has an arrow for each move', () => {
  const lines = transitionsMermaid('Order').split('\n');
  expect(lines.slice(0, 2)).toEqual(['stateDiagram-v2', '  [*] --> QUEUED: ORDER_CREATED']);
  expect(lines).toContain('  BLOCKED --> RUNNING: ORDER_STARTED');
  expect(lines).not.toContain('  CANCELLED --> QUEUED: ORDER_REISSUED');
});
