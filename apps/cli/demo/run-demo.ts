import { relative } from 'node:path';
import { API } from '#libs/contracts';
import { modelFromEnv } from '#libs/models';
import type { Config } from '#libs/runtime';
import { type Client, createClient } from '../client.ts';
import { startChat } from '../commands/chat.ts';
import type { Env } from '../env.ts';
import { eventLine } from '../event-line.ts';
import { facts, span } from '../format.ts';
import { type Io, paint } from '../io.ts';
import { problemLine } from '../problem-line.ts';
import { aborted } from '../signals.ts';
import { startSystem, type System } from '../supervisor/system.ts';
import { milestonesOf } from './feed.ts';
import { countEvents, type Told, watchRun } from './timeline.ts';
import { verifyCommit } from './verify.ts';

/** The theater that the demo works in. */
export const DEMO_THEATER = 'demo';

export type DemoJob = {
  message: string;
  playbook: string;
  inputs: { name: string; text: string }[];
};

export type Demo = {
  io: Io;
  job: DemoJob;
  env: Env;
  config: Config;
  /** Ends it. */
  stop: AbortSignal;
  /** Ends it at once. */
  kill: AbortSignal;
  /** Leave the system running at the end, until `stop`. */
  keep?: true;
};

/** The local model answers within milliseconds: without a pause there would be no middle. */
const MODEL_DELAY_MS = 8_000;
const RUN_MS_MAX = 300_000;
/** Puts what the demo itself does under the types of the events. */
const MARGIN = ' '.repeat(20);

/**
 * Starts a system, gives it the job, kills its worker in the middle of an order, and checks the
 * result with git.
 * @returns whether the run is complete and the mainline holds its artifacts
 */
export async function runDemo(demo: Demo): Promise<boolean> {
  const { io, job, config, env } = demo;
  title(io, 'IronClaw demo');
  io.out(
    facts([
      ['State', config.stateDir],
      ['Model', modelFromEnv(env).announcement],
      ['Playbook', job.playbook],
      ['Message', job.message],
      ...job.inputs.map(({ name, text }) => ['Input', `${name}, ${lines(text)} lines`] as const),
    ]),
  );
  title(io, 'Starting the broker, the control process and one worker');
  let notePrefix = '';
  const startedAt = performance.now();
  const system = await startSystem({
    config,
    env,
    workers: 1,
    sync: 'always',
    natsUrl: undefined,
    // Only the worker that is going to die is slow.
    childEnv: (name, start) =>
      name === 'worker-1' && start === 1
        ? { IRONCLAW_LOCAL_MODEL_DELAY_MS: String(MODEL_DELAY_MS) }
        : {},
    onNotice: (line) => io.out(paint(io.colours.out, 'yellow', `${notePrefix}${line}`)),
    onProblem: (name, record) => io.err(problemLine(io.colours.err, name, record)),
    stop: demo.stop,
    kill: demo.kill,
  });
  try {
    notePrefix = `${MARGIN}-- `;
    const client = createClient(system.url, undefined);
    const ran = await runJob(demo, system, client);
    const done = await conclude(demo, client, ran, performance.now() - startedAt);
    if (demo.keep) {
      io.out(`\nIt keeps running at ${system.url} until Ctrl-C.`);
      await aborted(demo.stop);
    }
    return done;
  } finally {
    await system.stop();
  }
}

type Ran = Told & { runId: string; killed: number | undefined };

async function runJob(demo: Demo, system: System, client: Client): Promise<Ran> {
  const { io, job } = demo;
  title(io, 'Timeline');
  await client.call(API.vault.openTheater, { theater_id: DEMO_THEATER });
  const { run_id: runId } = await startChat(client, { ...job, theater_hint: DEMO_THEATER });
  const broken = new AbortController();
  void system.failed.then((error) => broken.abort(error));
  let killed: number | undefined;
  const told = await watchRun({
    client,
    runId,
    signal: AbortSignal.any([demo.stop, broken.signal, AbortSignal.timeout(RUN_MS_MAX)]),
    show: (event) => io.out(eventLine(event, io.colours.out)),
    inTheMiddle: () => {
      killed = system.workers[0]?.pid;
      if (killed === undefined) return;
      const line = `-- kill -9 ${killed}: the worker dies in the middle of the order`;
      io.out(paint(io.colours.out, 'red', `${MARGIN}${line}`));
      process.kill(killed, 'SIGKILL');
    },
  });
  demo.stop.throwIfAborted();
  return { ...told, runId, killed };
}

/** Tells the reply, checks what is claimed, and says how to look further. */
async function conclude(demo: Demo, client: Client, ran: Ran, tookMs: number): Promise<boolean> {
  const { io, config } = demo;
  const { runId, killed, lastSeq } = ran;
  const at = { at_least: lastSeq };
  const run = await client.call(API.gateway.run, { run_id: runId, ...at });
  if (run.reply !== null) {
    title(io, 'Reply');
    io.out(run.reply);
  }
  const artifacts = (run.artifacts ?? []) as { path: string; commit_sha: string }[];
  const theater = await client.call(API.ledger.theater, { theater_id: DEMO_THEATER, ...at });
  const repo = theater.repo_path ?? '';
  const checked = await verifyCommit(
    repo,
    typeof theater.mainline === 'string' ? theater.mainline : 'main',
    artifacts.map((one) => ({ ...one, sha256: ran.digests.get(one.path) })),
  );
  title(io, 'Commit on the mainline (git show --stat)');
  io.out(checked.show);
  const wrong = [...checked.wrong];
  title(io, 'Milestones in the feed (signed, delivered, verified)');
  const feed = await milestonesOf(client, runId, demo.stop);
  for (const line of feed.lines) io.out(line);
  if (!feed.complete) wrong.push("the milestone of the run's end has not reached the feed");
  if (run.status !== 'COMPLETE') wrong.unshift(run.summary);
  if (killed === undefined) wrong.push('the run ended before a worker could be killed');
  else if (ran.attempts < 2) wrong.push('the killed order was not given to another worker');
  title(io, wrong.length === 0 ? 'Done' : 'Not as it should be');
  for (const line of wrong) io.out(paint(io.colours.out, 'red', line));
  io.out(
    facts([
      ['Run', `${runId} ${run.status}`],
      ...artifacts.map(({ path }) => ['Artifact', path] as const),
      ['Verified', wrong.length === 0 ? `by git: ${checked.headSha} holds all of them` : null],
      [
        'Attempts',
        killed === undefined ? ran.attempts : `${ran.attempts}, the first ended by kill -9`,
      ],
      ['Events', await countEvents(client, lastSeq)],
      ['Took', span(tookMs)],
    ]),
  );
  const state = shown(config.stateDir);
  io.out(`
To look further (the state stays in ${state}):
  git -C ${shown(repo)} log --stat
  npx ironclaw up --state ${state} --port 0
  npx ironclaw runs show ${runId} --state ${state}    # while it is up, in another terminal`);
  return wrong.length === 0;
}

function title(io: Io, text: string): void {
  io.out(`\n${paint(io.colours.out, 'bold', text)}`);
}

function lines(text: string): number {
  return text.trimEnd().split('\n').length;
}

/** The path as it can be typed here. */
function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' || near.startsWith('..') ? path : near;
}
