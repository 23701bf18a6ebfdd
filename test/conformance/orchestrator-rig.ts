import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Broker } from '#libs/broker';
import { testLogger } from '#libs/testing';
import { runSpecKitty } from '../../apps/cli/orchestrator/spec-kitty.ts';

export const LAUNCHER = fileURLToPath(new URL('../../apps/cli/spec-kitty.cjs', import.meta.url));
export const IRONCLAW = fileURLToPath(new URL('../../apps/cli/ironclaw.cjs', import.meta.url));
export const MISSION = '064-demo';
export const P = JSON.stringify({
  orchestrator_id: 'orch',
  orchestrator_version: '0.1.3',
  agent_family: 'fake',
  approval_mode: 'supervised',
  sandbox_mode: 'workspace_write',
  network_mode: 'none',
  dangerous_flags: [],
});
export const REVIEW = JSON.stringify({ reviewer: 'rev', verdict: 'approved', reference: 'r/1' });

export type Said = {
  code: number;
  /** The one object on stdout. */
  json: Record<string, unknown> & { data: Record<string, unknown> };
  stdout: string;
  stderr: string;
};

/** WP02 waits for WP01, WP03 for WP02 and WP04, WP05 for one that does not exist. */
export const FIVE: Readonly<Record<string, readonly string[]>> = {
  WP01: [],
  WP02: ['WP01'],
  WP03: ['WP02', 'WP04'],
  WP04: [],
  WP05: ['WP99'],
};
/** Three that can all be merged. */
export const THREE = { WP01: [], WP02: ['WP01'], WP03: [] };

/** A repository of a stranger's with one mission, and ways to call the executable in it. */
export function missionRig(
  env: Record<string, string> = {},
  wps: Readonly<Record<string, readonly string[]>> = FIVE,
) {
  const root = mkdtempSync(join(tmpdir(), 'ironclaw-mission-'));
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', root, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const files = `kitty-specs/${MISSION}`;
  git('init', '-q', '-b', 'main');
  git('config', 'user.name', 'Stranger');
  git('config', 'user.email', 'stranger@example.com');
  write('.kittify/config.yaml', 'project:\n  slug: demo\n');
  write(`${files}/meta.json`, metaText());
  write(`${files}/tasks/README.md`, '# no work package\n');
  write(`${files}/tasks.md`, tasksText(Object.keys(wps)));
  for (const [id, dependencies] of Object.entries(wps)) {
    write(`${files}/tasks/${id}-part.md`, taskText(id, dependencies));
  }
  git('add', '-A');
  git('commit', '-qm', 'a mission');
  git('checkout', '-qb', 'planning');

  const base = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(IRONCLAW|NATS|SPECIFY|npm)_/.test(name)),
  );
  const off = { IRONCLAW_MISSIONS_WARM: 'off' };
  const full = { ...base, ...off, ...env } as Record<string, string>;
  const brokers: Broker[] = [];
  const started: ChildProcess[] = [];

  /** In this process: quick. */
  const call = async (...words: string[]): Promise<Said> => {
    const { text, exitCode } = await runSpecKitty(words, {
      env: full,
      cwd: root,
      logger: testLogger('orchestrator'),
      now: () => new Date(),
      newId: () => randomBytes(12).toString('hex'),
      opened: (broker) => brokers.push(broker),
    });
    return said(exitCode, `${text}\n`, '');
  };

  /** As a process, as orchestrators call it. */
  const start = (words: readonly string[], more: StartOptions = {}) => {
    const child = spawn(process.execPath, [more.program ?? LAUNCHER, ...words], {
      cwd: more.cwd ?? root,
      env: { ...full, ...more.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started.push(child);
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const ended = once(child, 'close').then(([code]) => ({
      code: code as number | null,
      stdout,
      stderr,
    }));
    return { child, ended };
  };
  const spawned = async (words: readonly string[], more?: StartOptions): Promise<Said> => {
    const { code, stdout, stderr } = await start(words, more).ended;
    return said(code ?? -1, stdout, stderr);
  };
  const api = (command: string, ...flags: string[]) =>
    call('orchestrator-api', command, '--mission', MISSION, ...flags);

  return {
    root,
    files,
    git,
    write,
    read: (path: string) => readFileSync(join(root, path), 'utf8'),
    env: full,
    call,
    api,
    start,
    spawned,
    /** The lanes of all work packages, by id. */
    async lanes(): Promise<Record<string, string>> {
      const { json } = await api('mission-state');
      const wps = json.data.work_packages as { wp_id: string; lane: string }[];
      return Object.fromEntries(wps.map(({ wp_id, lane }) => [wp_id, lane]));
    },
    rows: () => rowsOf(readFileSync(join(root, files, 'status.events.jsonl'), 'utf8')),
    async [Symbol.asyncDispose]() {
      await Promise.all(brokers.map((broker) => broker.close()));
      for (const child of started) {
        if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      }
      rmSync(root, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export type Rig = ReturnType<typeof missionRig>;
type StartOptions = { cwd?: string; env?: Record<string, string>; program?: string };
export type Row = Record<string, unknown>;

function said(code: number, stdout: string, stderr: string): Said {
  if (!/^\{.*\}\n$/.test(stdout)) throw new Error(`not one JSON object: ${stdout}${stderr}`);
  return { code, json: JSON.parse(stdout) as Said['json'], stdout, stderr };
}

export function rowsOf(text: string): Row[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row);
}

function metaText(): string {
  const meta = {
    mission_slug: MISSION,
    mission_number: '064',
    mission_type: 'software-dev',
    slug: 'demo',
    friendly_name: 'Demo',
    target_branch: 'main',
    created_at: '2026-04-06T05:00:00Z',
  };
  return `${JSON.stringify(meta, null, 2)}\n`;
}

function taskText(id: string, dependencies: readonly string[]): string {
  const list = JSON.stringify(dependencies);
  return [
    '---',
    `work_package_id: ${id}`,
    `title: Part ${id}`,
    `dependencies: ${list}`,
    `subtasks: [T${id.slice(2)}1]`,
    `owned_files: ["${id}.txt"]`,
    'execution_mode: code_change',
    '---',
    '',
    `# ${id}`,
    '',
    'Do it.',
    '',
  ].join('\n');
}

function tasksText(ids: readonly string[]): string {
  const parts = ids.map((id) => `## ${id}: part\n\n- [ ] T${id.slice(2)}1 do it\n`);
  return `# Tasks\n\n${parts.join('\n')}`;
}
