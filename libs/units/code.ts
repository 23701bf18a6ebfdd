import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = dirname(fileURLToPath(new URL('./child/main.ts', import.meta.url)));

/**
 * Puts the unit's code, as plain JavaScript, into a folder below `folder` named by its digest, and
 * answers it. Removing the types once here saves each unit more time than all the rest of its start,
 * and the folder is all the code that a unit may read.
 */
export async function prepareUnitCode(folder: string): Promise<string> {
  const names = (await readdir(SOURCE)).filter((name) => /^[\w-]+\.ts$/.test(name)).sort();
  const files = await Promise.all(
    names.map(async (name) => {
      const text = stripTypes(await readFile(join(SOURCE, name), 'utf8'));
      const code = text.replaceAll(/(from|import) '(\.\/[\w-]+)\.ts'/g, "$1 '$2.mjs'");
      return { name: name.replace(/\.ts$/, '.mjs'), code };
    }),
  );
  const digest = createHash('sha256').update(JSON.stringify(files)).digest('hex');
  const target = join(folder, digest.slice(0, 32));
  // A module is loaded by its real path, and only that is allowed to be read.
  if (await exists(target)) return realpath(target);
  const fresh = `${target}.${process.pid}.${Date.now()}`;
  await mkdir(fresh, { recursive: true });
  await Promise.all(files.map(({ name, code }) => writeFile(join(fresh, name), code)));
  try {
    await rename(fresh, target);
  } catch (error) {
    // Another worker was faster; what it put there is the same.
    await rm(fresh, { recursive: true, force: true });
    if (!(await exists(target))) throw error;
  }
  return realpath(target);
}

/** Node calls this function experimental, and says so on stderr, which is no news to a user. */
function stripTypes(source: string): string {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = () => undefined;
  try {
    return stripTypeScriptTypes(source);
  } finally {
    process.emitWarning = emitWarning;
  }
}

async function exists(folder: string): Promise<boolean> {
  try {
    await readdir(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
