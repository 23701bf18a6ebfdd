#!/usr/bin/env node
'use strict';
// The `ironclaw` command. Runs main.ts under Node 24 whatever Node started this file.
const { spawn } = require('node:child_process');
const { realpathSync } = require('node:fs');
const { enableCompileCache } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { findNode, NODE_MISSING } = require('../../deploy/bootstrap/find-node.cjs');

const main = path.join(__dirname, 'main.ts');
const node = findNode();

// What was compiled is kept for the next start, here and in every process that we start: it halves
// the time of a short command. Not in the shared folder for temporary files, where others write.
process.env.NODE_COMPILE_CACHE ??= path.join(__dirname, '../../node_modules/.cache/compile');

if (node === undefined) {
  fail(NODE_MISSING);
} else if (realpathSync(node) === realpathSync(process.execPath)) {
  // Already the right Node (npm scripts and npx): no second process to keep in step.
  process.argv[1] = main;
  enableCompileCache?.(process.env.NODE_COMPILE_CACHE);
  if (process.env.npm_command !== undefined) endWithParent();
  import(pathToFileURL(main).href).catch((error) => {
    console.error(error);
    process.exit(1);
  });
} else {
  rerun(node);
}

/** Runs main.ts in a child; hands on signals, and ends as the child ends. */
function rerun(command) {
  const child = spawn(command, [main, ...process.argv.slice(2)], { stdio: 'inherit' });
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

function fail(message) {
  console.error(message);
  process.exit(1);
}
