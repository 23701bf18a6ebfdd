// Fetches Debian's newest nats-server package through apt, with private sources and state: the
// system's own apt configuration is read, never changed, and no root is needed.
import {
  access,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { debianArchives, parseDeb822, parseOneLine } from './apt-sources.mjs';
import { run, step } from './run.mjs';

const SUITE = 'sid';
const PACKAGE = 'nats-server';
const KEYRINGS = ['gpg', 'pgp'].map((end) => `/usr/share/keyrings/debian-archive-keyring.${end}`);

/** Fetches into `<folder>/<version>/` and gives that path. Safe to run several times at once. */
export async function fetchFromDebian(folder, log) {
  const archives = debianArchives(await systemSources());
  if (archives.length === 0) throw new Error('no Debian archive in the apt sources under /etc/apt');
  let failure;
  for (const archive of archives.slice(0, 3)) {
    try {
      return await step(log, `Fetching ${PACKAGE} from ${archive.uri}`, () =>
        fetchFrom(archive, folder),
      );
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

async function systemSources() {
  const entries = [];
  const extra = await list('/etc/apt/sources.list.d');
  for (const file of ['/etc/apt/sources.list', ...extra]) {
    const parse = file.endsWith('.sources') ? parseDeb822 : parseOneLine;
    if (!/\.(list|sources)$/.test(file)) continue;
    entries.push(...parse(await readFile(file, 'utf8').catch(ifMissing(''))));
  }
  return entries;
}

async function list(folder) {
  const names = await readdir(folder).catch(ifMissing([]));
  return names.map((name) => path.join(folder, name));
}

/** A file that is absent or not ours to read counts as empty. */
function ifMissing(value) {
  return (error) => {
    if (['ENOENT', 'EACCES'].includes(error.code)) return value;
    throw error;
  };
}

async function fetchFrom(archive, folder) {
  await removeLeftovers(folder);
  const work = await mkdtemp(path.join(folder, '.fetch-'));
  try {
    const env = { APT_CONFIG: await writeAptConfig(archive, work) };
    await run('apt-get', ['update', '-q'], { env });
    await run('apt-get', ['download', '-q', PACKAGE], { env, cwd: work });
    const deb = (await readdir(work)).find((name) => name.endsWith('.deb'));
    if (deb === undefined) throw new Error('apt-get downloaded no package');
    await run('dpkg', ['-x', deb, 'package'], { cwd: work });
    return await publish(folder, work);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Removes what a killed fetch left behind more than an hour ago. */
async function removeLeftovers(folder) {
  for (const file of await list(folder)) {
    if (!path.basename(file).startsWith('.fetch-')) continue;
    const { mtimeMs } = await stat(file).catch(ifMissing({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > 3_600_000) await rm(file, { recursive: true, force: true });
  }
}

/** Moves the unpacked binary to `<folder>/<version>/` in one step. */
async function publish(folder, work) {
  const binFolder = path.join(work, 'package', 'usr', 'bin');
  const binary = await exists(path.join(binFolder, PACKAGE));
  const from = binary ? binFolder : path.join(work, 'package', 'usr', 'sbin');
  const text = await run(path.join(from, PACKAGE), ['--version'], { timeoutMs: 10_000 });
  const version = /v(\d+\.\d+\.\d+\S*)/.exec(text)?.[1];
  if (version === undefined) throw new Error(`the package's ${PACKAGE} says "${text.trim()}"`);
  const place = path.join(folder, version);
  try {
    await rename(from, place);
  } catch (error) {
    // Another process was quicker: its copy is as good as ours.
    if (!['EEXIST', 'ENOTEMPTY'].includes(error.code)) throw error;
  }
  return place;
}

async function exists(file) {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Writes an apt.conf under which apt touches nothing outside `work`; gives its path. */
async function writeAptConfig(archive, work) {
  const at = (...parts) => path.join(work, ...parts);
  await mkdir(at('lists', 'partial'), { recursive: true });
  await mkdir(at('archives', 'partial'), { recursive: true });
  await mkdir(at('sources'));
  await writeFile(at('status'), '');
  await writeFile(at('sources', 'ironclaw.sources'), await sourceStanza(archive));
  const lines = {
    'Dir::State': work,
    'Dir::State::lists': at('lists'),
    'Dir::State::status': at('status'),
    'Dir::Cache': work,
    'Dir::Cache::archives': at('archives'),
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::parts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': at('sources'),
    'Acquire::AllowInsecureRepositories': 'false',
    'Acquire::AllowWeakRepositories': 'false',
    'Acquire::AllowDowngradeToInsecureRepositories': 'false',
    'Acquire::Languages': 'none',
    'APT::Get::AllowUnauthenticated': 'false',
  };
  // As root apt would change to a user who cannot read a private home folder.
  if (process.getuid?.() === 0) lines['APT::Sandbox::User'] = 'root';
  const own = Object.entries(lines).map(([key, value]) => `${key} "${value}";`);
  const conf = at('apt.conf');
  await writeFile(conf, [await systemAcquire(), ...own, ''].join('\n'));
  return conf;
}

/** How this machine reaches its mirrors (proxies, certificates), as apt.conf lines. */
async function systemAcquire() {
  const dump = await run('apt-config', ['dump']);
  return dump
    .split('\n')
    .filter((line) => /^Acquire::(?!IndexTargets|Languages|Changelogs)/i.test(line))
    .join('\n');
}

async function sourceStanza({ uri, signedBy }) {
  const architecture = (await run('dpkg', ['--print-architecture'])).trim();
  const lines = [
    'Types: deb',
    `URIs: ${uri}`,
    `Suites: ${SUITE}`,
    'Components: main',
    `Architectures: ${architecture}`,
  ];
  const keys = signedBy ?? (await firstKeyring());
  if (keys !== undefined) lines.push(`Signed-By: ${keys}`);
  return `${lines.join('\n')}\n`;
}

async function firstKeyring() {
  for (const file of KEYRINGS) if (await exists(file)) return file;
  return undefined;
}
