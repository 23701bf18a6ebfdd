import { type OrchestratorRefusal, ORCHESTRATOR_ERRORS, refusal } from '#libs/contracts';
import type { Logger } from 'pino';
import { loadGate } from '#libs/missionlog';
import { type Gate, parseSelector, type Result } from '#libs/missions';
import type { Env } from './connect.ts';
import { toRefusal } from './failure.ts';
import { allFlags, COMMANDS } from './flags.ts';
import { renderEnvelope } from './envelope.ts';
import type { Surroundings } from './session.ts';

/** One line for stdout, and the exit code. */
export type Reply = { text: string; exitCode: 0 | 1 | 2 };

/** What the work of a command gives: its name, the mission it is about, and the outcome. */
export type Work = {
  command: string;
  mission: string | undefined;
  /** A command line that was not understood: exit code 2. */
  unparsed?: true;
  outcome: Result<Record<string, unknown>>;
};

export type Context = {
  env: Env;
  cwd: string;
  logger: Logger;
  now: () => Date;
  newId: () => string;
  opened?: Surroundings['opened'];
  connections?: Surroundings['connections'];
};

/** Runs a command and makes its one reply of whatever comes of it. Never throws. */
export async function reply(
  context: Context,
  name: string,
  work: (around: Surroundings) => Promise<Work>,
): Promise<Reply> {
  const { env, cwd, logger, now, newId, opened, connections } = context;
  const stamp = { at: now(), correlationId: `corr-${newId()}` };
  const failed = (error: unknown): Reply => {
    logger.error({ err: error }, 'the command failed');
    return { text: render(undefined, stamp, failure(name, toRefusal(error))), exitCode: 1 };
  };
  let gate: Gate;
  try {
    gate = loadGate(env);
    gate.surface({
      commands: Object.keys(COMMANDS),
      missionFlag: '--mission',
      flags: allFlags(),
      errorCodes: Object.keys(ORCHESTRATOR_ERRORS),
    });
  } catch (error) {
    return failed(error);
  }
  try {
    const done = await work({ env, cwd, gate, logger, now, opened, connections }).catch(
      (error: unknown) => {
        logger.error({ err: error }, 'the command failed');
        return failure(name, toRefusal(error));
      },
    );
    const exitCode = done.outcome.ok ? 0 : done.unparsed === true ? 2 : 1;
    return { text: render(gate, stamp, done), exitCode };
  } catch (error) {
    return failed(error);
  }
}

/** A reply for what happens outside every command, as a signal. */
export function lastWords(context: Pick<Context, 'now' | 'newId'>, reason: string): string {
  const stamp = { at: context.now(), correlationId: `corr-${context.newId()}` };
  return render(undefined, stamp, failure('unknown', refusal('INTERNAL_ERROR', { reason })));
}

function failure(command: string, error: OrchestratorRefusal): Work {
  return { command, mission: undefined, outcome: { ok: false, error } };
}

function render(
  gate: Gate | undefined,
  stamp: { at: Date; correlationId: string },
  { command, mission, outcome }: Work,
): string {
  // A name that cannot be a mission's is told as it was given, but not as a mission's.
  const isSlug = mission !== undefined && parseSelector(mission).ok;
  const missionSlug = isSlug ? mission : undefined;
  const shown = outcome.ok
    ? { ok: true as const, data: outcome.value }
    : { ok: false as const, error: outcome.error };
  return renderEnvelope(gate, { command, missionSlug, outcome: shown }, stamp);
}
