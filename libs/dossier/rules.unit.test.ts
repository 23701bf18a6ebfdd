import { createHash } from 'node:crypto';
import { bodyUpload, parse } from '#libs/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { classify, noAnswer } from './answers.ts';
import { backoffMs, decodeUtf8, isArtifactFolder, skipByPath, skipBySize } from './rules.ts';

test('D.50 rows wait 1, 2, 4 … seconds, 300 at most', () => {
  const waits = Array.from({ length: 12 }, (_, retry) => backoffMs(retry) / 1_000);
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
});

test('D.50 waiting never gets shorter and never leaves its bounds', () => {
  fc.assert(
    fc.property(fc.integer({ min: -5, max: 5_000 }), (retry) => {
      const wait = backoffMs(retry);
      expect(wait).toBeGreaterThanOrEqual(1_000);
      expect(wait).toBeLessThanOrEqual(300_000);
      expect(backoffMs(retry + 1)).toBeGreaterThanOrEqual(wait);
    }),
  );
});

test.each([
  [201, { status: 'stored' }, 'uploaded', 'done'],
  [200, { status: 'already_exists' }, 'already_exists', 'done'],
  [400, { detail: 'no' }, 'bad_request', 'fail'],
  [400, { content_hash: ['bad'] }, 'bad_request', 'fail'],
  [401, {}, 'unauthorized', 'retry'],
  [403, {}, 'forbidden', 'fail'],
  [404, { error: 'index_entry_not_found' }, 'index_entry_not_found', 'retry'],
  [404, { error: { code: 'INDEX_ENTRY_NOT_FOUND' } }, 'index_entry_not_found', 'retry'],
  [404, { error: 'namespace_not_found' }, 'namespace_not_found', 'fail'],
  [404, { error: { code: 'NAMESPACE_NOT_FOUND' } }, 'namespace_not_found', 'fail'],
  [404, {}, 'not_found', 'retry'],
  [404, undefined, 'not_found', 'retry'],
  [429, {}, 'rate_limited', 'retry'],
  [500, undefined, 'server_error', 'retry'],
  [503, {}, 'server_error', 'retry'],
  [413, {}, 'unexpected_status', 'fail'],
  [302, undefined, 'unexpected_status', 'fail'],
])('D.50 answer %i %j is %s: %s', (status, body, outcome, disposition) => {
  const answer = classify(status, body);
  expect(answer).toMatchObject({ outcome, disposition });
  expect(answer.detail).toContain(String(status));
});

test('D.50 no answer is tried again; what an answer says is kept, and cut', () => {
  expect(noAnswer('ECONNREFUSED')).toMatchObject({ outcome: 'unreachable', disposition: 'retry' });
  expect(classify(400, { detail: 'the hash differs' }).detail).toContain('the hash differs');
  expect(classify(400, { content_hash: ['bad'] }).detail).toContain('content_hash');
  expect(classify(400, { detail: 'x'.repeat(10_000) }).detail).toHaveLength(500);
});

test('every status and body has an answer, and only 200 and 201 are success', () => {
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 999 }), fc.jsonValue(), (status, body) => {
      const { disposition } = classify(status, body);
      expect(disposition === 'done').toBe(status === 200 || status === 201);
    }),
  );
});

test.each([
  'spec.md',
  'plan.md',
  'tasks.md',
  'research.md',
  'quickstart.md',
  'data-model.md',
  'research/a.md',
  'research/deep/er/b.csv',
  'contracts/c.json',
  'contracts/d.yaml',
  'checklists/e.yml',
  'tasks/WP01.md',
  'tasks/WP01-with-a-title.md',
])('%s is an artifact', (path) => expect(skipByPath(path)).toBeUndefined());

test.each([
  ['meta.json', 'unsupported_surface'],
  ['status.events.jsonl', 'unsupported_surface'],
  ['SPEC.md', 'unsupported_surface'],
  ['tasks/README.md', 'unsupported_surface'],
  ['tasks/deep/WP01.md', 'unsupported_surface'],
  ['tasks/WP01.txt', 'unsupported_surface'],
  ['other/spec.md', 'unsupported_surface'],
  ['research/../../secret.md', 'unsupported_surface'],
  ['research//a.md', 'unsupported_surface'],
  ['research/a.png', 'unsupported_format'],
  ['contracts/a.md.bak', 'unsupported_format'],
  ['contracts/md', 'unsupported_format'],
])('%s is none: %s', (path, reason) => expect(skipByPath(path)).toBe(reason));

const part = fc.stringMatching(/^[a-zA-Z0-9._-]{1,8}$/);
const anyPath = fc.oneof(
  fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
  fc
    .tuple(fc.constantFrom('research', 'contracts', 'checklists', 'tasks'), part)
    .map(([top, name]) => `${top}/${name}.md`),
);

test('every artifact lies in a folder that is read, and never leaves the mission', () => {
  fc.assert(
    fc.property(anyPath, (path) => {
      if (skipByPath(path) !== undefined) return;
      const parts = path.split('/');
      expect(parts).not.toContain('..');
      for (let depth = 1; depth < parts.length; depth += 1) {
        expect(isArtifactFolder(parts.slice(0, depth).join('/'))).toBe(true);
      }
    }),
  );
});

test('D.52 524288 bytes fit, one more does not', () => {
  expect(skipBySize(524_288)).toBeUndefined();
  expect(skipBySize(524_289)).toBe('oversized');
});

test('D.52 text comes back byte for byte, or is none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = decodeUtf8(bytes);
      if (text !== undefined) expect(Buffer.from(text, 'utf8')).toEqual(Buffer.from(bytes));
    }),
  );
  expect(decodeUtf8(Buffer.from('caf\xe9', 'latin1'))).toBeUndefined();
  expect(decodeUtf8(Buffer.from('\ufeffcafé\0'))).toBe('\ufeffcafé\0');
});

test('D.49 the shape of a body is the seed’s nine fields; the hash with or without its prefix', () => {
  const hex = createHash('sha256').update('text').digest('hex');
  const body = {
    project_uuid: 'A1B2C3D4-0000-4000-8000-000000000001',
    mission_slug: '064-my-mission',
    target_branch: 'main',
    mission_type: 'software-dev',
    manifest_version: '1',
    artifact_path: 'kitty-specs/064-my-mission/spec.md',
    content_hash: hex.toUpperCase(),
    hash_algorithm: 'sha256',
    content_body: 'text',
  };
  expect(parse(bodyUpload, body)).toEqual({
    ...body,
    project_uuid: body.project_uuid.toLowerCase(),
    content_hash: `sha256:${hex}`,
  });
  for (const key of Object.keys(body)) {
    const { [key as keyof typeof body]: _, ...rest } = body;
    expect(bodyUpload.safeParse(rest).success, key).toBe(false);
    expect(bodyUpload.safeParse({ ...rest, [key]: ' ' }).success).toBe(key === 'content_body');
  }
  for (const [key, value] of [
    ['content_hash', 'md5:abc'],
    ['hash_algorithm', 'md5'],
    ['artifact_path', '../../etc/passwd'],
    ['artifact_path', '/etc/passwd'],
    ['mission_slug', '../064'],
    ['project_uuid', 'project'],
  ]) {
    expect(bodyUpload.safeParse({ ...body, [key as string]: value }).success, value).toBe(false);
  }
});
