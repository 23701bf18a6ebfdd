'use strict';
// Runs on any Node: finds the one that runs IronClaw. CommonJS, so that the launcher can use it.
const { existsSync } = require('node:fs');
const path = require('node:path');

const NEEDED_MAJOR = 24;
const root = path.resolve(__dirname, '..', '..');

/** Says what to do where no usable Node is there. */
const NODE_MISSING = [
  `IronClaw needs Node ${NEEDED_MAJOR} or newer; this is Node ${process.versions.node}.`,
  `Run \`npm run setup\` in ${root}: on Linux and Windows (x64) and Linux (arm64) it brings its own.`,
  `Elsewhere install Node ${NEEDED_MAJOR} and run the command with that.`,
].join('\n');

/**
 * The Node to run IronClaw with: the pinned one that npm installed, else the running one if it is
 * new enough, else undefined.
 */
function findNode() {
  const pinned = path.join(
    root,
    'node_modules',
    `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`,
    'bin',
    process.platform === 'win32' ? 'node.exe' : 'node',
  );
  if (existsSync(pinned)) return pinned;
  return Number.parseInt(process.versions.node, 10) >= NEEDED_MAJOR ? process.execPath : undefined;
}

module.exports = { findNode, NODE_MISSING };
