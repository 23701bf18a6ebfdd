import { expect, test } from 'vitest';
import { debianArchives, parseDeb822, parseOneLine } from './apt-sources.mjs';

const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';

test('deb822 stanzas: comments, several URIs, an embedded key, disabled ones left out', () => {
  const text = [
    'Types: deb deb-src',
    '# a comment',
    'URIs: http://a.example/debian http://b.example/debian',
    'Suites: stable stable-updates',
    'Components: main contrib',
    'Signed-By:',
    ' -----BEGIN PGP PUBLIC KEY BLOCK-----',
    ' .',
    ' abc',
    '',
    'Enabled: no',
    'Types: deb',
    'URIs: http://c.example/debian',
    'Suites: stable',
    'Components: main',
  ].join('\n');
  const found = parseDeb822(text);
  expect(found.map(({ uri }) => uri)).toEqual([
    'http://a.example/debian',
    'http://b.example/debian',
  ]);
  expect(found[0]).toMatchObject({
    types: ['deb', 'deb-src'],
    suites: ['stable', 'stable-updates'],
    components: ['main', 'contrib'],
    signedBy: '\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc',
  });
});

test('one-line entries: options, comments, sources', () => {
  const text = [
    '# deb http://no.example/debian stable main',
    `deb [arch=amd64 signed-by=${KEYS}] http://a.example/debian/ stable main contrib # why`,
    'deb-src http://a.example/debian stable main',
    'deb cdrom:[Debian]/ stable main',
  ].join('\n');
  const [first, second] = parseOneLine(text);
  expect(first).toEqual({
    uri: 'http://a.example/debian/',
    types: ['deb'],
    suites: ['stable'],
    components: ['main', 'contrib'],
    signedBy: KEYS,
  });
  expect(second?.types).toEqual(['deb-src']);
});

test('the Debian archive is chosen among security, third parties and other systems', () => {
  const entry = (uri: string, suite = 'stable', signedBy?: string) => ({
    uri,
    types: ['deb'],
    suites: [suite],
    components: ['main'],
    ...(signedBy === undefined ? {} : { signedBy }),
  });
  const found = debianArchives([
    entry('http://a.example/debian-security', 'stable-security', KEYS),
    entry('http://a.example/ubuntu', 'noble'),
    entry('http://third.example/debian', 'stable', '/etc/apt/keyrings/third.gpg'),
    entry('http://third.example/tools'),
    entry('http://a.example/mirror', 'stable', KEYS),
    entry('http://a.example/debian', 'stable', KEYS),
    entry('http://a.example/debian', 'stable-updates', KEYS),
    entry('mirror+file:/etc/apt/mirrors/debian.list'),
  ]);
  expect(found.map(({ uri }) => uri)).toEqual([
    'http://a.example/debian',
    'http://a.example/mirror',
    'mirror+file:/etc/apt/mirrors/debian.list',
    'http://third.example/debian',
  ]);
});
