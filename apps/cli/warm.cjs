'use strict';
// Asks the process that keeps the orchestrator API loaded for a repository (orchestrator/warm.ts),
// so that a command need not load it. Plain JavaScript for any Node, and nothing but Node's own.
const { existsSync, readFileSync, statSync } = require('node:fs');
const net = require('node:net');
const path = require('node:path');

const ANSWER_MS = 120_000;
/** What of the environment decides what a command does. */
const NAMES = /^(IRONCLAW|NATS|SPECIFY|SPEC_KITTY|GIT)_|^(HOME|USER|PATH|LANG|LC_ALL|TZ)$/;

/**
 * @param words as `orchestrator-api mission-state …`
 * @param done gets `{ text, exitCode, stderr }`; undefined: nobody has taken the command, run it
 */
function askWarm(words, done) {
  const target = findTarget();
  if (target === undefined) return done(undefined);
  const socket = net.connect(target.port, '127.0.0.1');
  let heard = '';
  let taken = false;
  const finish = (answer) => {
    socket.removeAllListeners();
    socket.on('error', () => {});
    socket.destroy();
    done(answer);
  };
  socket.setTimeout(ANSWER_MS, () => finish(taken ? lost('it says nothing') : undefined));
  socket.on('connect', () => {
    taken = true;
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => NAMES.test(name)),
    );
    socket.write(`${JSON.stringify({ token: target.token, words, cwd: process.cwd(), env })}\n`);
  });
  socket.setEncoding('utf8').on('data', (text) => {
    heard += text;
    if (heard.endsWith('\n')) finish(JSON.parse(heard));
  });
  // Once it has the command, it may have done it: then nobody else may.
  socket.on('error', (error) => finish(taken ? lost(error.message) : undefined));
  socket.on('close', () => finish(taken ? lost('it has ended') : undefined));
}

/** The outcome is not known; the same call may be made again. */
function lost(why) {
  const reason = `the process that ran the command is lost (${why})`;
  const error = `The mission log is not available: ${reason}`;
  const text = JSON.stringify({
    ok: false,
    success: false,
    command: 'orchestrator-api.unknown',
    contract_version: '1.3.0',
    timestamp: new Date().toISOString(),
    correlation_id: `corr-${process.pid.toString(16)}`,
    error_code: 'HOST_UNAVAILABLE',
    error,
    data: { reason, message: error },
  });
  return { text, exitCode: 1, stderr: '' };
}

function findTarget() {
  if (process.env.IRONCLAW_MISSIONS_WARM === 'off') return undefined;
  try {
    const named = process.env.SPECIFY_REPO_ROOT;
    const gitDir = (named ? commonDir(named) : undefined) ?? walkUp(process.cwd());
    if (gitDir === undefined) return undefined;
    const file = path.join(gitDir, 'ironclaw', 'missions', 'warm.json');
    const target = JSON.parse(readFileSync(file, 'utf8'));
    // One of another installation or version would answer as that one.
    if (target.program !== __dirname || target.changed !== changedAt()) return undefined;
    process.kill(target.pid, 0);
    return target;
  } catch {
    // There is none, or what is left of one.
    return undefined;
  }
}

function walkUp(start) {
  for (let at = start; ; at = path.dirname(at)) {
    const found = commonDir(at);
    if (found !== undefined || path.dirname(at) === at) return found;
  }
}

/** The git folder that all worktrees share. */
function commonDir(root) {
  const dotGit = path.join(root, '.git');
  if (!existsSync(dotGit)) return undefined;
  if (statSync(dotGit).isDirectory()) return dotGit;
  const pointer = /^gitdir: (.+?)\s*$/m.exec(readFileSync(dotGit, 'utf8'))?.[1];
  if (pointer === undefined) return undefined;
  const own = path.resolve(root, pointer);
  const shared = path.join(own, 'commondir');
  return existsSync(shared) ? path.resolve(own, readFileSync(shared, 'utf8').trim()) : own;
}

const PARTS = ['package.json', 'apps/cli/orchestrator', 'libs/missions', 'libs/missionlog'];

/** When this program was installed or updated: files that are replaced change their folder. */
function changedAt() {
  const times = PARTS.map((part) => statSync(path.join(__dirname, '../..', part)).mtimeMs);
  return Math.max(...times);
}

/** Writes the answer and ends; a reader that has gone changes nothing. */
function sayAnswer({ text, exitCode, stderr }) {
  if (stderr) process.stderr.write(stderr);
  process.stdout.on('error', () => process.exit(exitCode));
  process.stdout.write(`${text}\n`, () => process.exit(exitCode));
}

module.exports = { askWarm, changedAt, program: __dirname, sayAnswer };
