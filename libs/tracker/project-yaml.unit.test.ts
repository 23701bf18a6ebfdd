import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bindingIn, type StoredBinding, withBinding } from './project-yaml.ts';

const BOUND: StoredBinding = { provider: 'linear', binding_ref: 'b-1', display_label: 'Board: #1' };
const LINES = `tracker:
  provider: "linear"
  binding_ref: "b-1"
  display_label: "Board: #1"
`;
const REST = `# of the project
version: 1

project:
  uuid: 0b0f4b0e-7a57-4f5e-9b1a-3d3c52a1d001 # kept
  provider: not this
agents: [claude, codex]
notes: |
  tracker: not this either
`;

test('a binding is put where there was none, and taken out without a trace', () => {
  expect(withBinding('', BOUND)).toBe(LINES);
  expect(withBinding(REST, BOUND)).toBe(REST + LINES);
  expect(bindingIn(REST)).toBeUndefined();
  expect(bindingIn(REST + LINES)).toEqual(BOUND);
  expect(withBinding(REST + LINES, undefined)).toBe(REST);
  expect(withBinding(REST, undefined)).toBe(REST);
});

test('what else is in the block and in the file stays, line by line', () => {
  const yaml = `${REST}tracker: # of ours
    workspace: w
    provider: jira
    doctrine:
      mode: external
      provider: inner
    binding_ref: 'it''s' # old

# about what follows
last: true
`;
  expect(bindingIn(yaml)).toEqual({
    provider: 'jira',
    binding_ref: "it's",
    display_label: null,
  });
  const edited = withBinding(yaml, BOUND);
  const own = /^ {4}(provider|binding_ref|display_label):.*\n/gm;
  expect(edited.replace(own, '')).toBe(yaml.replace(own, ''));
  expect(bindingIn(edited)).toEqual(BOUND);
  expect(withBinding(edited, undefined)).toBe(yaml.replace(own, ''));
});

test.each(['tracker: null\n', 'tracker: {}\n', 'tracker: ~ # none\n', "'tracker':\n"])(
  'an empty %j is filled',
  (yaml) => {
    expect(bindingIn(yaml)).toBeUndefined();
    expect(bindingIn(withBinding(`${yaml}a: 1\n`, BOUND))).toEqual(BOUND);
    expect(withBinding(`${yaml}a: 1\n`, BOUND)).toMatch(/\na: 1\n$/);
  },
);

test.each([
  ['{tracker: {provider: jira}}\n', 'line 1'],
  ['tracker: {provider: jira}\n', 'no block'],
  ['tracker: &a\n  provider: jira\n', 'no block'],
  ['tracker:\n- a\n', 'a list'],
  ['tracker:\n\tprovider: jira\n', 'tabs'],
  ['tracker:\n  provider: a\ntracker:\n  provider: b\n', 'twice'],
  ['tracker:\n  provider: a\n  provider: b\n', 'twice'],
  ['a: 1\n---\nb: 2\n', 'line 2'],
])('%j is told, and not edited', (yaml, reason) => {
  expect(() => withBinding(yaml, BOUND)).toThrow(reason);
});

test.each([
  'tracker:\n  provider: |\n    a\n  binding_ref: b\n',
  'tracker:\n  provider: "\\x41"\n',
])('a value in another style, as in %j, is not guessed', (yaml) => {
  expect(() => bindingIn(yaml)).toThrow('.kittify/config.yaml');
  expect(bindingIn(withBinding(yaml, BOUND))).toEqual(BOUND);
});

test('whatever the texts are, they come back, and the rest is as before', () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 });
  const eols = fc.constantFrom('\n', '\r\n');
  fc.assert(
    fc.property(text, text, fc.option(text), eols, (provider, ref, label, eol) => {
      const binding = { provider, binding_ref: ref, display_label: label };
      const before = REST.replaceAll('\n', eol);
      const edited = withBinding(before, binding);
      expect(bindingIn(edited)).toEqual(binding);
      expect(withBinding(edited, undefined)).toBe(before);
      expect(withBinding(edited, binding)).toBe(edited);
    }),
  );
});
