import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { startWarm } from './connect.ts';
import { findRepository } from './repository.ts';
import { type Context, lastWords, type Reply } from './answer.ts';

/** Runs a command as this process: one line on stdout whatever happens, then the end. */
export async function runProcess(work: (context: Context) => Promise<Reply>): Promise<never> {
  const context: Context = {
    env: process.env,
    cwd: process.cwd(),
    // Written at once: the process ends without waiting for a stream.
    logger: pino(
      { level: process.env.IRONCLAW_LOG_LEVEL || 'warn' },
      pino.destination({ fd: 2, sync: true }),
    ),
    now: () => new Date(),
    newId: () => randomBytes(12).toString('hex'),
  };
  const last = (reason: string) => void end({ text: lastWords(context, reason), exitCode: 1 });
  process.on('uncaughtException', (error) => {
    context.logger.error({ err: error }, 'uncaught');
    last(error.message);
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => last(`stopped by ${signal}`));
  }
  const done = await work(context);
  const repository = findRepository(context.env, context.cwd);
  // An orchestrator goes on to ask; after a command that is not understood nobody does.
  if (done.exitCode !== 2 && repository !== undefined) startWarm(repository, context.env);
  return end(done);
}

let ended = false;

/** Writes the reply, once, and ends when it is out; a reader that has gone changes nothing. */
function end({ text, exitCode }: Reply): Promise<never> {
  if (!ended) {
    ended = true;
    process.stdout.on('error', () => process.exit(exitCode));
    process.stdout.write(`${text}\n`, () => process.exit(exitCode));
  }
  return new Promise(() => {});
}
