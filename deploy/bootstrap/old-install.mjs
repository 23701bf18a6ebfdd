// Keeps node_modules equal to package-lock.json.
import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
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

/** Runs `work` while no other live process of this machine holds the lock file. */
export async function withLock(file, log, work) {
  await mkdir(path.dirname(file), { recursive: true });
  const own = `${file}.${randomUUID()}`;
  await writeFile(own, String(process.pid));
  try {
    await acquire(file, own, log);
    try {
      return await work();
    } finally {
      await rm(file, { force: true });
    }
  } finally {
    await rm(own, { force: true });
  }
}

async function acquire(file, own, log) {
  const end = Date.now() + LOCK_WAIT_MS;
  for (let said = false; ; ) {
    try {
      // Unlike a write, a link makes the file appear with its content.
      return await link(own, file);
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = await readFile(file, 'utf8').catch(() => undefined);
    if (holder !== undefined && !isAlive(holder)) await removeStale(file, holder);
    else if (Date.now() > end) throw new Error(`process ${holder} still holds ${file}`);
    else {
      if (!said) log(`Waiting for process ${holder}, which is installing packages ...`);
      said = true;
      await sleep(200);
    }
  }
}

function isAlive(pid) {
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Takes a dead process's lock away; puts it back if another process has just made it its own. */
async function removeStale(file, holder) {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
    if ((await readFile(aside, 'utf8')) !== holder) await link(aside, file);
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes(error.code)) throw error;
  }
  await rm(aside, { force: true });
}
