import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { commitFiles } from './commit.ts';
import { startWorkspace } from './lane.ts';
import { merge, type MergeStrategy } from './merge.ts';
import { planOf } from './plan.ts';
import { lanesText, put, stamp } from './test_kit.ts';
import type { Repository } from './values.ts';

const NOTE = 'kitty-specs/064-demo/note';

/** Commits a file of the mission, then starts both lanes. */
export async function start(repository: Repository): Promise<void> {
  const plan = planOf('064-demo', lanesText, []);
  put(repository.root, NOTE, 'a note\n');
  const commit = { destination: 'main', paths: [NOTE], message: 'note', allowProtected: true };
  const results = [await commitFiles({ repository, ...commit, ...stamp })];
  const input = { repository, plan, targetBranch: 'main', ...stamp };
  for (const wpId of ['WP01', 'WP02']) {
    const started = await startWorkspace({ ...input, wpId });
    if (!started.ok) throw new Error(started.error.message);
  }
  for (const result of results) if (!result.ok) throw new Error(result.error.message);
}

/** Merges the mission; answers the commit. */
export async function finish(repository: Repository, strategy: MergeStrategy): Promise<string> {
  const plan = planOf('064-demo', lanesText, []);
  // Another second on a repeat, as in real life.
  const timestampSec = stamp.timestampSec + (process.pid % 1000);
  const input = { repository, plan, target: 'main', strategy, push: false, ...stamp, timestampSec };
  const done = await merge(input);
  if (!done.ok) throw new Error(done.error.message);
  return done.value.commit;
}

/** Kills the process at its n-th change of a file, writes after half of the bytes. */
function dieAtChange(n: number): void {
  let count = 0;
  const target = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of CHANGES) {
    const original = target[name] as (...args: unknown[]) => unknown;
    target[name] = (...args) => {
      if (++count !== n) return original(...args);
      try {
        const [path, bytes] = args;
        if (name === 'writeFileSync') original(path, Buffer.from(bytes as string).subarray(0, 20));
      } finally {
        process.kill(process.pid, 'SIGKILL');
        for (;;); // the signal is on its way
      }
    };
  }
  syncBuiltinESMExports();
}

const CHANGES = [
  'writeFileSync',
  'renameSync',
  'linkSync',
  'rmSync',
  'unlinkSync',
  'mkdirSync',
  'rmdirSync',
  'appendFileSync',
];

// Run as a program: does one of the two until it is killed.
if (process.argv[1] === import.meta.filename) {
  const [repository = '', mode = ''] = process.argv.slice(2);
  dieAtChange(Number(process.env['IRONCLAW_DIE_AT']));
  const where = JSON.parse(repository) as Repository;
  await (mode === 'start' ? start(where) : finish(where, mode as MergeStrategy));
}
