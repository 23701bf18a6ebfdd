'use strict';
// Runs a TypeScript program under Node 24 whatever Node started this process.
const { spawn } = require('node:child_process');
const { realpathSync } = require('node:fs');
const { enableCompileCache } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { findNode, NODE_MISSING } = require('../../deploy/bootstrap/find-node.cjs');

// What was compiled is kept for the next start, here and in every process that we start: it halves
// the time of a short command. Not in the shared folder for temporary files, where others write.
process.env.NODE_COMPILE_CACHE ??= path.join(__dirname, '../../node_modules/.cache/compile');

/**
 * Runs `main`, a file of this folder, with the arguments of this process.
 * @param fail tells why it cannot, and ends the process
 */
function launch(main, fail) {
  const file = path.join(__dirname, main);
  const node = findNode();
  if (node === undefined) return fail(NODE_MISSING);
  if (realpathSync(node) !== realpathSync(process.execPath)) return rerun(node, file, fail);
  // Already the right Node (npm scripts and npx): no second process to keep in step.
  process.argv[1] = file;
  enableCompileCache?.(process.env.NODE_COMPILE_CACHE);
  if (process.env.npm_command !== undefined) endWithParent();
  import(pathToFileURL(file).href).catch((error) => fail(error.stack ?? String(error)));
}

/** Runs a file in a child; hands on signals, and ends as the child ends. */
function rerun(command, file, fail) {
  const child = spawn(command, [file, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // Ctrl-C on a terminal reaches the child by itself; a second one would mean "quit at once".
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('error', (error) => fail(`Cannot run ${command}: ${error.message}\n${NODE_MISSING}`));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

/** npm hands a signal to the shell between it and us, which may end without telling us. */
function endWithParent() {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, 500);
  watch.unref();
}

module.exports = { launch };
