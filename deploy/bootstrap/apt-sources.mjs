// Reads apt's own source lists, to find the mirror of the Debian archive that this machine uses.

/** Stanzas of a deb822 `.sources` file, keys in lower case; continued lines keep their newlines. */
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

/** Entries of a one-line-style `.list` file. */
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
 * The entries that look like the main Debian archive, best first, each mirror once. A mirror is
 * known by its path (`…/debian`) or by the Debian archive's own keyring; not the security archive.
 */
export function debianArchives(entries) {
  const score = ({ uri, signedBy = '' }) =>
    (/\/debian(\.list)?\/?$/.test(uri) ? 1 : 0) +
    (signedBy.includes('debian-archive-keyring') ? 2 : 0);
  const seen = new Set();
  return entries
    .filter(({ types, components }) => types.includes('deb') && components.includes('main'))
    .filter(({ uri, suites }) => ![uri, ...suites].some((text) => /security/.test(text)))
    .filter((entry) => score(entry) > 0)
    .sort((a, b) => score(b) - score(a))
    .filter(({ uri }) => !seen.has(uri) && seen.add(uri));
}

function words(text = '') {
  return text.split(/\s+/).filter((word) => word !== '');
}
