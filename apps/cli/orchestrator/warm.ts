import { randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import { isAppError } from '#libs/contracts';
import { pino } from 'pino';
import { z } from 'zod';
import warm from '../warm.cjs';
import type { Reply } from './answer.ts';
import { type Connections, closeConnections } from './connect.ts';
import { homeOf, idleMsOf, runningPid } from './home.ts';
import { runSpecKitty } from './spec-kitty.ts';
import { inTurn } from './turn.ts';

/** Longest request: every flag may have its longest value. */
const REQUEST_CHARS_MAX = 1_048_576;
const SILENT_MS = 120_000;

const request = z.strictObject({
  token: z.string(),
  words: z.array(z.string()),
  cwd: z.string(),
  env: z.record(z.string(), z.string()),
});

/**
 * Keeps the orchestrator API loaded for a repository: commands hand it their words, folder and
 * environment over a loopback port (warm.cjs), and it does what each would do by itself. One for a
 * repository, until nobody has asked for IRONCLAW_MISSIONS_IDLE_SECONDS. Argument: the git folder.
 */
async function keepWarm(gitDir: string): Promise<void> {
  const home = homeOf(gitDir);
  mkdirSync(home.folder, { recursive: true, mode: 0o700 });
  const token = randomBytes(24).toString('base64url');
  const connections: Connections = new Map();
  const stopping = Promise.withResolvers<void>();
  let running = 0;
  let idle: NodeJS.Timeout | undefined;
  const rest = () => {
    clearTimeout(idle);
    if (running === 0) idle = setTimeout(() => stopping.resolve(), idleMsOf(process.env));
  };
  const server = createServer((socket) => {
    running += 1;
    socket.once('close', () => {
      running -= 1;
      rest();
    });
    serveOne(socket, token, connections);
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.once(signal, () => stopping.resolve());
  }
  const { port } = server.address() as AddressInfo;
  write(home.warm, { pid: process.pid, port, token });
  rest();
  await stopping.promise;
  // Nobody new comes; who is here gets an answer.
  if (runningPid(home.warm) === process.pid) rmSync(home.warm, { force: true });
  await new Promise((resolve) => server.close(resolve));
  await closeConnections(connections);
}

function serveOne(socket: Socket, token: string, connections: Connections): void {
  let heard = '';
  socket.setTimeout(SILENT_MS, () => socket.destroy());
  // It has gone: what it asked for is done all the same.
  socket.on('error', () => socket.destroy());
  socket.setEncoding('utf8').on('data', (text: string) => {
    heard += text;
    if (heard.length > REQUEST_CHARS_MAX) socket.destroy();
    if (!heard.endsWith('\n')) return;
    void answer(heard, token, connections).then((reply) => {
      if (reply === undefined) socket.destroy();
      else socket.end(`${JSON.stringify(reply)}\n`);
    });
  });
}

/** Undefined: it is no request of ours. */
async function answer(
  text: string,
  token: string,
  connections: Connections,
): Promise<(Reply & { stderr: string }) | undefined> {
  const asked = readRequest(text);
  if (asked === undefined || !isSame(asked.token, token)) return undefined;
  let stderr = '';
  const written = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      stderr += chunk.toString();
      done();
    },
  });
  const { words, cwd, env } = asked;
  const reply = await runSpecKitty(words, {
    env,
    cwd,
    connections,
    logger: pino({ level: env.IRONCLAW_LOG_LEVEL || 'warn' }, written),
    now: () => new Date(),
    newId: () => randomBytes(12).toString('hex'),
  });
  return { ...reply, stderr };
}

function readRequest(text: string): z.output<typeof request> | undefined {
  try {
    return request.safeParse(JSON.parse(text)).data;
  } catch {
    // Not JSON: not from a command.
    return undefined;
  }
}

function isSame(given: string, token: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function write(path: string, told: { pid: number; port: number; token: string }): void {
  const temporary = `${path}.${process.pid}`;
  const text = JSON.stringify({ ...told, program: warm.program, changed: warm.changedAt() });
  writeFileSync(temporary, `${text}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

const gitDir = process.argv[2] ?? '';
// Its repository may have been removed since it was started.
if (!existsSync(gitDir)) process.exit(0);
try {
  // Held as long as it lives; of several that start at once the others end.
  await inTurn(homeOf(gitDir).warmLock, 0, () => keepWarm(gitDir));
} catch (error) {
  if (!isAppError(error, 'TIMEOUT')) throw error;
}
process.exit(0);
