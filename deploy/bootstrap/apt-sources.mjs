// Reads apt's own source lists, to find the mirror of the Debian archive that this machine uses.

/**
 * @typedef {object} AptEntry
 * @property {string} uri
 * @property {string[]} types `deb`, `deb-src`
 * @property {string[]} suites
 * @property {string[]} components
 * @property {string} [signedBy] keyring files, or a key itself as deb822 writes it
 */

/**
 * Entries of a deb822 `.sources` file, one a URI.
 *
 * @param {string} text
 * @returns {AptEntry[]}
 */
export function parseDeb822(text) {
  const stanzas = [];
  let stanza = {};
  let key;
  for (const line of [...text.split('\n'), '']) {
    if (line.startsWith('#')) continue;
    const field = /^([^\s:]+):(.*)$/.exec(line);
    if (line.trim() === '') {
      if (Object.keys(stanza).length > 0) stanzas.push(stanza);
      stanza = {};
      key = undefined;
    } else if (/^\s/.test(line) && key !== undefined) {
      stanza[key] += `\n${line}`;
    } else if (field !== null) {
      key = field[1].toLowerCase();
      stanza[key] = field[2].trim();
    }
  }
  return stanzas
    .filter((entry) => !/^(no|false|off|0)$/i.test(entry.enabled ?? 'yes'))
    .flatMap((entry) =>
      words(entry.uris).map((uri) => ({
        uri,
        types: words(entry.types),
        suites: words(entry.suites),
        components: words(entry.components),
        signedBy: entry['signed-by'] || undefined,
      })),
    );
}

/**
 * Entries of a one-line-style `.list` file.
 *
 * @param {string} text
 * @returns {AptEntry[]}
 */
export function parseOneLine(text) {
  const entries = [];
  for (const line of text.split('\n')) {
    const match = /^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) continue;
    const [, type, options = '', uri, suite, components] = match;
    entries.push({
      uri,
      types: [type],
      suites: [suite],
      components: words(components),
      signedBy: /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1].replaceAll(',', ' '),
    });
  }
  return entries;
}

/**
 * The entries that are mirrors of the main Debian archive, best first, each once. A mirror is known
 * by its path (`…/debian`) or by the Debian archive's own keyring; not the security archive.
 *
 * @param {AptEntry[]} entries
 */
export function debianArchives(entries) {
  const seen = new Set();
  return entries
    .filter(({ types, components }) => types.includes('deb') && components.includes('main'))
    .filter(({ uri, suites }) => ![uri, ...suites].some((text) => text.includes('security')))
    .filter((entry) => hasDebianPath(entry) || hasDebianKeys(entry))
    .sort((a, b) => rank(b) - rank(a))
    .filter(({ uri }) => !seen.has(uri) && seen.add(uri));
}

const hasDebianPath = ({ uri }) => /\/debian(\.list)?\/?$/.test(uri);
const hasDebianKeys = ({ signedBy = '' }) => signedBy.includes('debian-archive-keyring');

/** Debian's own keys first, then the system's trusted ones; a third party's last. */
function rank(entry) {
  if (hasDebianKeys(entry)) return hasDebianPath(entry) ? 3 : 2;
  return entry.signedBy === undefined ? 1 : 0;
}

function words(text = '') {
  return text.split(/\s+/).filter((word) => word !== '');
}
