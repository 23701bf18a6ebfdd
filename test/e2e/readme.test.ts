import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** Every command in README.md is run here, as it stands, or named here with who runs it. */
const root = path.join(import.meta.dirname, '../..');
const readme = await readFile(path.join(root, 'README.md'), 'utf8');
const commands = [...readme.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, block = '']) =>
  block.split('\n').filter((line) => line.trim() !== ''),
);

/** The gate (.ci/run) runs these two, and this test is one of theirs. */
const RUN_BY_GATE = ['npm test', 'npm run check'];
/** Runs until Ctrl-C; the commands that ask a running system are run beside it. */
const STAYS = 'npm start';
const ASKS =
  /^npx ironclaw (chat|runs|orders|events|views|streams|escalations|deadletters|config|policy|project|dossier|outbox|emit)\b/;

const state = await mkdtemp(path.join(tmpdir(), 'ironclaw-readme-'));
const env = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(IRONCLAW|NATS|IO_INT|OPENAI)_/.test(name)),
  ),
  IRONCLAW_STATE: state,
  IRONCLAW_PORT: '0',
};

/** Splits a command line as a shell does for plain words and double quotes. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '');
}

async function run(line: string): Promise<{ code: number | null; output: string }> {
  const [program = '', ...args] = words(line);
  const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  child.stderr.on('data', (text: Buffer) => (output += text.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

const demoFolder = path.join(root, '.ironclaw');
const demosBefore = new Set(await readdir(demoFolder).catch(() => []));

afterAll(async () => {
  await rm(state, { recursive: true, force: true });
  for (const name of await readdir(demoFolder).catch(() => [])) {
    if (!demosBefore.has(name))
      await rm(path.join(demoFolder, name), { recursive: true, force: true });
  }
});

test('the gate runs the commands that this test cannot', async () => {
  const gate = await readFile(path.join(root, '.ci/run'), 'utf8');
  for (const line of RUN_BY_GATE) {
    expect(commands).toContain(line);
    expect(gate).toContain(line);
  }
  expect(commands.length).toBeGreaterThan(10);
});

const alone = commands.filter(
  (line) => !RUN_BY_GATE.includes(line) && line !== STAYS && !ASKS.test(line),
);
test.each(alone)(
  '%s',
  async (line) => {
    const { code, output } = await run(line);
    expect(code, output).toBe(0);
  },
  120_000,
);

describe('npm start', () => {
  let stop: () => Promise<void>;

  beforeAll(async () => {
    await mkdir(state, { recursive: true });
    const child = spawn('npm', ['start'], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const ended = once(child, 'close');
    await new Promise<void>((resolve, reject) => {
      const hear = (text: Buffer): void => {
        output += text.toString();
        if (/http:\/\/127\.0\.0\.1:\d+/.test(output) && output.includes('/docs')) resolve();
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.once('close', () => reject(new Error(output)));
    });
    stop = async () => {
      // What a terminal does on Ctrl-C reaches the program itself, not npm alone.
      const running = JSON.parse(await readFile(path.join(state, 'running.json'), 'utf8')) as {
        pid: number;
      };
      process.kill(running.pid, 'SIGINT');
      await ended;
    };
  }, 120_000);

  afterAll(() => stop(), 30_000);

  const asking = commands.filter((line) => ASKS.test(line));
  test.each(asking)(
    '%s',
    async (line) => {
      const { code, output } = await run(line);
      expect(code, output).toBe(0);
    },
    60_000,
  );
});

test('the commands need nothing but what the README names', () => {
  for (const line of commands) expect(line).toMatch(/^(npm|npx) /);
});
