import { execFile } from 'node:child_process';

/**
 * Runs a program without a shell and gives its standard output. `env` is added to ours. Fails with
 * the end of its error output; `error.code` is ENOENT where there is no such program.
 */
export function run(command, args, { cwd, env = {}, timeoutMs = 300_000 } = {}) {
  const options = {
    cwd,
    env: { ...process.env, LC_ALL: 'C', ...env },
    timeout: timeoutMs,
    maxBuffer: 64 * 1024 * 1024,
  };
  return new Promise((resolve, reject) => {
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (error.code === 'ENOENT') return reject(error);
      const output = (stderr.trim() || stdout.trim() || error.message).split('\n').slice(-8);
      const why = error.killed ? `took more than ${timeoutMs / 1000} s` : output.join('\n');
      const failure = new Error(`${command} ${args[0] ?? ''}: ${why}`);
      failure.code = error.code;
      reject(failure);
    });
  });
}

/** Does a step that takes seconds: says that it starts, that it still runs, and that it is done. */
export async function step(log, title, work) {
  const start = Date.now();
  const seconds = () => Math.round((Date.now() - start) / 1000);
  log(`${title} ...`);
  const beat = setInterval(() => log(`${title}: ${seconds()} s`), 5_000);
  try {
    const result = await work();
    log(`${title}: done in ${seconds()} s`);
    return result;
  } finally {
    clearInterval(beat);
  }
}
