// A unit whose code has turned hostile: it tries every way out and tells how each one ended.
import {
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  linkSync,
  readSync,
  writeSync,
} from 'node:fs';

await import(new URL('guard.mjs', import.meta.url).href);
const chunk = Buffer.alloc(65_536);
const { task } = JSON.parse(
  chunk.subarray(0, readSync(0, chunk, 0, chunk.length, null)).toString(),
);
const say = (message) => writeSync(1, `${JSON.stringify(message)}\n`);
const notes = [];
const attempt = async (name, run) => {
  try {
    const value = await run();
    notes.push(`${name}: GOT ${String(value).slice(0, 100)}`);
  } catch {
    notes.push(`${name}: refused`);
  }
};
const port = readFileSync(`${task.root}/port`, 'utf8');
const mode = readFileSync(`${task.root}/mode`, 'utf8');
if (mode === 'spin') for (;;);
if (mode === 'flood') for (;;) say({ kind: 'tool', index: 0 });
if (mode === 'babble') say({ kind: 'obey', please: true });
if (mode === 'crash') process.exit(3);
if (mode === 'memory') for (const all = []; ; ) all.push(Array.from({ length: 1e6 }, Math.random));
if (mode === 'wait') for (;;) readSync(0, chunk, 0, chunk.length, null);

await attempt('passwd', () => readFileSync('/etc/passwd'));
await attempt('neighbour', () => readFileSync(`${task.root}/../outside.txt`));
await attempt('list above', () => readdirSync(`${task.root}/..`));
await attempt('environ', () => readFileSync('/proc/self/environ'));
await attempt('parent environ', () => readFileSync(`/proc/${process.ppid}/environ`));
await attempt('write', () => writeFileSync(`${task.root}/x`, 'x'));
await attempt('write outputs', () => writeFileSync(`${task.root}/outputs/x`, 'x'));
await attempt('write tmp', () => writeFileSync('/tmp/ironclaw-hostile', 'x'));
await attempt('symlink', () => symlinkSync('/etc', `${task.root}/etc`));
await attempt('link', () => linkSync('/etc/passwd', `${task.root}/passwd`));
await attempt('kill', () => process.kill(process.ppid, 0));
await attempt('fetch', () => globalThis.fetch(`http://127.0.0.1:${port}/`));
for (const name of [
  'net',
  'http',
  'https',
  'http2',
  'tls',
  'dgram',
  'dns',
  'dns/promises',
  'inspector',
  'child_process',
  'worker_threads',
  'cluster',
  'wasi',
  'repl',
  'os',
  'sqlite',
  'undici',
]) {
  await attempt(`import ${name}`, () => import(`node:${name}`));
  await attempt(`builtin ${name}`, () => process.getBuiltinModule(name));
}
await attempt('data import', () => import(`data:text/javascript,${'export default 1'}`));
await attempt('createRequire', async () => {
  const { createRequire } = await import('node:module');
  return createRequire(import.meta.url)('node:net').connect(Number(port), '127.0.0.1');
});
await attempt('binding', () => process.binding('tcp_wrap'));
await attempt('addon', () => process.dlopen({ exports: {} }, '/tmp/x.node'));
await attempt('secrets', () => {
  const text = JSON.stringify(process.env);
  if (text === '{}') throw new Error('none');
  return text;
});
say({ kind: 'done', notes });
