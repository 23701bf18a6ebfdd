// Keeps node_modules equal to package-lock.json.
import { randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run, step } from './run.mjs';

const LOCK_WAIT_MS = 600_000;

/** Runs npm in `root` unless all that its lock file names is installed. */
export async function installPackages(root, log) {
  if (await isInstalled(root)) return;
  await withLock(path.join(root, '.ironclaw', 'install.lock'), log, async () => {
    // Another process may have done it while this one waited.
    if (!(await isInstalled(root))) await npmInstall(root, log);
  });
}

/**
 * Compares what npm wrote down when it finished (node_modules/.package-lock.json) with the lock
 * file; packages for other platforms may be absent.
 */
export async function isInstalled(root) {
  const locked = await readPackages(path.join(root, 'package-lock.json'));
  const installed = await readPackages(path.join(root, 'node_modules', '.package-lock.json'));
  if (locked === undefined) throw new Error(`there is no package-lock.json in ${root}`);
  if (installed === undefined) return false;
  return Object.entries(locked).every(([name, want]) => {
    const have = installed[name];
    if (name === '') return true;
    if (have === undefined) return want.optional === true && !isForHere(want);
    return have.version === want.version && have.integrity === want.integrity;
  });
}

/** True for a binary package that surely belongs on this machine (with `libc` it may not). */
function isForHere({ os, cpu, libc }) {
  return (
    libc === undefined &&
    os?.includes(process.platform) === true &&
    cpu?.includes(process.arch) === true
  );
}

async function readPackages(file) {
  try {
    return JSON.parse(await readFile(file, 'utf8')).packages;
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function npmInstall(root, log) {
  // Not `npm ci`: npm 11 refuses a lock file whose optional packages for other platforms were not
  // to be had where it was written. This installs the locked versions too, and changes no file.
  const args = ['install', '--no-save', '--no-audit', '--no-fund'];
  args.push('--include=dev', '--include=optional');
  // Under `npm run` the same npm; otherwise the one on PATH.
  const npm = process.env.npm_execpath;
  const [command, ...first] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  await step(log, 'Installing packages', () =>
    run(command, [...first, ...args], { cwd: root, timeoutMs: LOCK_WAIT_MS }),
  );
  if (!(await isInstalled(root))) {
    throw new Error('npm left packages out; delete node_modules and run `npm run setup`');
  }
}

/**
 * Runs `work` while no other live process of this machine does so for the same `file`. Each holder
 * takes `<file>.<n>` with the next number; the highest is never removed, so two processes that find
 * a dead holder cannot both follow it. Free is an empty one.
 */
export async function withLock(file, log, work) {
  await mkdir(path.dirname(file), { recursive: true });
  const own = `${file}.${randomUUID()}`;
  await writeFile(own, String(process.pid));
  try {
    const held = await acquire(file, own, log);
    try {
      return await work();
    } finally {
      await truncate(held);
    }
  } finally {
    await rm(own, { force: true });
  }
}

/** Answers the file that it made. */
async function acquire(file, own, log) {
  const end = Date.now() + LOCK_WAIT_MS;
  for (let said = false; ; ) {
    const before = Math.max(0, ...(await numbersOf(file)));
    const holder = before === 0 ? '' : await readHolder(`${file}.${before}`);
    if (!isAlive(holder)) {
      const next = await takeNext(file, own, before + 1);
      if (next !== undefined) return next;
    } else if (Date.now() > end) {
      throw new Error(`process ${holder} still holds ${file}.${before}`);
    } else {
      if (!said) log(`Waiting for process ${holder}, which is installing packages ...`);
      said = true;
      await sleep(50);
    }
  }
}

/** Undefined: another process was faster. */
async function takeNext(file, own, number) {
  const mine = `${file}.${number}`;
  try {
    // Unlike a write, a link makes the file appear with its content.
    await link(own, mine);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    return undefined;
  }
  const all = await numbersOf(file);
  // The number was free again because others have gone on beyond it.
  const lost = Math.max(...all) > number;
  const idle = lost ? [number] : all.filter((known) => known < number);
  await Promise.all(idle.map((known) => rm(`${file}.${known}`, { force: true })));
  return lost ? undefined : mine;
}

async function numbersOf(file) {
  const names = await readdir(path.dirname(file));
  const start = `${path.basename(file)}.`;
  const ends = names
    .filter((name) => name.startsWith(start))
    .map((name) => name.slice(start.length));
  return ends.filter((end) => /^\d+$/.test(end)).map(Number);
}

async function readHolder(file) {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return ''; // a later holder has removed it
    throw error;
  }
}

function isAlive(holder) {
  if (holder === '') return false;
  try {
    process.kill(Number(holder), 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
