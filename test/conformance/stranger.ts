import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * An orchestrator as others have written it for the original host: it knows the executable, its
 * cwd and the fields of the contract, and nothing of us. It drives a mission until every work
 * package is terminal. Arguments: a JSON object of type Script.
 */
type Script = {
  launcher: string;
  root: string;
  mission: string;
  actor: string;
  policy: string;
  /** The first review of these asks for changes. */
  rework: string[];
  /** These are blocked once on the way. */
  block: string[];
  /** Ends by SIGKILL before this call; 0: never. */
  dieBefore: number;
};
type Data = Record<string, unknown>;
type Wp = { wp_id: string; lane: string; dependencies: string[]; last_actor: string | null };
type Answer = { success: boolean; error_code: string | null; data: Data };

const script = JSON.parse(process.argv[2] ?? '') as Script;
const { root, mission, actor, policy } = script;
const KEYS = ['contract_version', 'command', 'timestamp', 'correlation_id', 'success', 'data'];
const RETRIES = 60;
const PAUSE_MS = 200;
const ROUNDS_MAX = 400;
let calls = 0;
const seen = { rework: new Set<string>(), block: new Set<string>() };

function run(words: readonly string[]): Answer {
  calls += 1;
  if (calls === script.dieBefore) process.kill(process.pid, 'SIGKILL');
  const { stdout } = spawnSync(process.execPath, [script.launcher, ...words], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, SPECIFY_REPO_ROOT: root },
  });
  const answer = JSON.parse(stdout) as Answer & Data;
  for (const key of KEYS) if (answer[key] === undefined) throw new Error(`no ${key}: ${stdout}`);
  if (!('error_code' in answer)) throw new Error(`no error_code: ${stdout}`);
  return answer;
}

/** A host that is away is asked again; every other no is the caller's. */
async function call(words: readonly string[], fields: readonly string[]): Promise<Answer> {
  for (let i = 0; ; i += 1) {
    const answer = run(words);
    if (answer.error_code !== 'HOST_UNAVAILABLE' || i === RETRIES) {
      for (const name of answer.success ? fields : []) {
        if (answer.data[name] === undefined)
          throw new Error(`no ${name}: ${JSON.stringify(answer)}`);
      }
      return answer;
    }
    await sleep(PAUSE_MS);
  }
}

const api = (command: string, flags: readonly string[], fields: readonly string[]) =>
  call(['orchestrator-api', command, '--mission', mission, ...flags], ['mission_slug', ...fields]);
const by = (wp: string) => ['--wp', wp, '--actor', actor];
const move = (wp: string, to: string, ...more: string[]) =>
  api('transition', [...by(wp), '--to', to, '--policy', policy, ...more], ['from_lane', 'to_lane']);

async function implement({ wp_id: wp }: Wp): Promise<void> {
  const fields = ['workspace_path', 'prompt_path', 'from_lane', 'to_lane', 'no_op'];
  const started = await api('start-implementation', [...by(wp), '--policy', policy], fields);
  if (!started.success) return;
  await api('append-history', [...by(wp), '--note', `Started ${wp}`], ['history_entry_id']);
  const { workspace_path, prompt_path, lane_branch } = started.data as Record<string, string>;
  if (!existsSync(prompt_path ?? '')) throw new Error(`no prompt for ${wp}`);
  work(wp, workspace_path as string, lane_branch);
  const subtask = `T${wp.slice(2)}1`;
  const marking = ['agent', 'tasks', 'mark-status', subtask, '--status', 'done'];
  const marked = await call([...marking, '--mission', mission], []);
  if (!marked.success) throw new Error(`${subtask}: ${JSON.stringify(marked)}`);
  if (script.block.includes(wp) && !seen.block.has(wp)) {
    seen.block.add(wp);
    await move(wp, 'blocked', '--note', 'waits for a person');
    await move(wp, 'in_progress');
  }
  await must(move(wp, 'for_review'));
}

/** What an agent does: a file of the work package's own, committed on its branch. */
function work(wp: string, path: string, branch: string | undefined): void {
  const git = (cwd: string, ...args: string[]) =>
    execFileSync('git', ['-C', cwd, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true });
    git(root, 'worktree', 'add', '--detach', path);
  }
  if (branch !== undefined && git(path, 'branch', '--show-current').trim() !== branch) {
    throw new Error(`${path} is not on ${branch}`);
  }
  const file = join(path, `${wp}.txt`);
  writeFileSync(file, existsSync(file) ? `${wp} again\n` : `${wp}\n`);
  git(path, 'add', `${wp}.txt`);
  const staged = git(path, 'diff', '--cached', '--name-only').trim();
  if (staged !== '') git(path, 'commit', '-qm', `${wp} done`);
}

async function review({ wp_id: wp }: Wp): Promise<void> {
  const fields = ['from_lane', 'to_lane', 'prompt_path', 'policy_metadata_recorded'];
  const claimed = await api('start-review', [...by(wp), '--policy', policy], fields);
  if (!claimed.success) return;
  if (script.rework.includes(wp) && !seen.rework.has(wp)) {
    seen.rework.add(wp);
    const result = { reviewer: actor, verdict: 'changes_requested', reference: `review/${wp}/1` };
    await must(move(wp, 'in_progress', '--review-result-json', JSON.stringify(result)));
    return;
  }
  const result = { reviewer: actor, verdict: 'approved', reference: `review/${wp}/2` };
  const evidence = JSON.stringify({ review: result });
  const shown = ['--review-result-json', JSON.stringify(result), '--evidence-json', evidence];
  await must(move(wp, 'done', ...shown));
}

/** An answer that was lost may have been given: then the same call is refused. */
async function must(answer: Promise<Answer>): Promise<void> {
  const { success, error_code, data } = await answer;
  if (success || error_code === 'TRANSITION_REJECTED') return;
  throw new Error(`${String(error_code)}: ${JSON.stringify(data)}`);
}

async function step(wps: readonly Wp[], ready: ReadonlySet<string>): Promise<void> {
  for (const wp of wps) {
    const mine = wp.last_actor === actor;
    if (ready.has(wp.wp_id)) await implement(wp);
    else if (mine && (wp.lane === 'claimed' || wp.lane === 'in_progress')) await implement(wp);
    else if (mine && wp.lane === 'blocked') await move(wp.wp_id, 'in_progress');
    else if (wp.lane === 'for_review') await review(wp);
    else if (mine && wp.lane === 'in_review') {
      await move(wp.wp_id, 'for_review', '--force', '--note', 'orphaned review');
    }
  }
}

await call(['orchestrator-api', 'contract-version'], ['api_version']);
for (let round = 0; ; round += 1) {
  if (round === ROUNDS_MAX) throw new Error('the mission does not end');
  const listed = await api('list-ready', [], ['ready_work_packages']);
  const state = await api('mission-state', [], ['summary', 'work_packages']);
  if (!listed.success || !state.success) continue;
  const wps = state.data.work_packages as Wp[];
  if (wps.every(({ lane }) => lane === 'done' || lane === 'canceled')) break;
  const ready = listed.data.ready_work_packages as Wp[];
  await step(wps, new Set(ready.map(({ wp_id }) => wp_id)));
  await sleep(PAUSE_MS);
}
