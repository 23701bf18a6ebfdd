import fc from 'fast-check';
import { expect, test } from 'vitest';
import { projectSlug, repoSlug } from './identity.ts';

test.each([
  ['https://github.com/Acme/My_Tool.git', 'my-tool', 'Acme/My_Tool'],
  ['https://user:secret@git.example.com:8443/a/b/c', 'c', 'b/c'],
  ['git@github.com:acme/tool.git', 'tool', 'acme/tool'],
  ['ssh://git@host:22/acme/tool.git/', 'tool', 'acme/tool'],
  ['git@host:tool', 'tool', 'tool'],
  ['/srv/git/acme/tool.git', 'tool', 'acme/tool'],
  ['../tool', 'tool', 'tool'],
  ['C:\\repos\\acme\\My Tool.git', 'my-tool', 'acme/My Tool'],
  [undefined, 'a-folder', 'A_Folder'],
  ['', 'a-folder', 'A_Folder'],
  ['https://host/', 'a-folder', 'A_Folder'],
])('%s is %s and %s', (origin, slug, repo) => {
  expect(projectSlug(origin, 'A_Folder')).toBe(slug);
  expect(repoSlug(origin, 'A_Folder')).toBe(repo);
});

test('both are never empty, and the credentials of an address are never in them', () => {
  fc.assert(
    fc.property(fc.string(), fc.webUrl(), (text, url) => {
      for (const origin of [text, url.replace('://', '://user:hunter2@')]) {
        expect(projectSlug(origin, 'folder')).not.toBe('');
        expect(repoSlug(origin, 'folder')).not.toBe('');
      }
      expect(repoSlug(url.replace('://', '://user:hunter2@'), 'folder')).not.toContain('hunter2');
    }),
  );
});
