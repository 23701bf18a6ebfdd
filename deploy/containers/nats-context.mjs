// Assembles the build context of Dockerfile.nats in a folder: the nats-server that this machine has
// or fetches, the libraries that it is linked to, and the configuration of deploy/nats.
//
//   node deploy/containers/nats-context.mjs FOLDER && docker build -t ironclaw-nats FOLDER
import { copyFile, cp, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNatsServer } from '../bootstrap/nats-server.mjs';
import { run } from '../bootstrap/run.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));

/** Fills `folder` (created if missing) with all that the image is made of. Linux only. */
export async function assembleNatsContext(folder) {
  const { path: binary } = await findNatsServer({ fetch: true });
  const root = path.join(folder, 'root');
  await mkdir(path.join(folder, 'data'), { recursive: true });
  const files = new Map([[binary, '/usr/bin/nats-server']]);
  for (const library of await librariesOf(binary)) files.set(library, library);
  for (const [from, to] of files) {
    const target = path.join(root, to);
    await mkdir(path.dirname(target), { recursive: true });
    await copyFile(from, target);
  }
  for (const name of ['node.conf', 'accounts.conf', 'tls.conf']) {
    await cp(path.join(HERE, '../nats', name), path.join(root, 'etc/nats', name));
  }
  await copyFile(path.join(HERE, 'Dockerfile.nats'), path.join(folder, 'Dockerfile'));
}

/** Absolute paths of the shared libraries and the loader; none for a static binary. */
async function librariesOf(binary) {
  const text = await run('ldd', [binary], { timeoutMs: 10_000 }).catch((error) => {
    if (/not a dynamic executable/.test(error.message)) return '';
    throw error;
  });
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, file]) => file);
}

const [folder] = process.argv.slice(2);
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (folder === undefined) throw new Error('usage: nats-context.mjs FOLDER');
  await assembleNatsContext(path.resolve(folder));
}
