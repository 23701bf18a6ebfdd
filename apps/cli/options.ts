import { stateLayout } from '#libs/runtime';
import type { Command } from 'commander';
import { type Client, createClient } from './client.ts';
import { settingsOf } from './env.ts';
import { type ExitCode, unreachable } from './failure.ts';
import type { Io } from './io.ts';
import { readRunning, type Running } from './supervisor/running.ts';

/** Takes what the chosen command does; it is done once the whole command line is understood. */
export type Run = (work: () => Promise<ExitCode>) => void;

export type JsonOption = { json?: true };
export type ConnectionOptions = JsonOption & { url?: string; token?: string; state?: string };

export function withState(command: Command): Command {
  return command.option('--state <dir>', 'folder of all state (IRONCLAW_STATE, .ironclaw)');
}

export function withJson(command: Command): Command {
  return command.option('--json', 'JSON instead of text');
}

/** The options of every command that talks to a running system. */
export function withConnection(command: Command): Command {
  return withJson(withState(command))
    .option('--url <url>', 'the running system (IRONCLAW_URL; else what runs on --state)')
    .option('--token <token>', 'a token, where it asks for one (IRONCLAW_TOKEN)');
}

/** Adds examples to `--help`. */
export function withExamples(command: Command, examples: readonly string[]): Command {
  const lines = examples.map((example) => `  $ ironclaw ${example}`);
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}

/**
 * A client of the system that is named, or that runs on the state folder.
 * @throws {Failure} none is running there
 */
export function connectTo(io: Io, options: ConnectionOptions): Client {
  const token = options.token ?? io.env.IRONCLAW_TOKEN;
  const named = options.url ?? io.env.IRONCLAW_URL;
  if (named !== undefined && named !== '') return createClient(named, token);
  const { running, stateDir } = runningOn(io, options.state);
  if (running === undefined) {
    throw unreachable('IronClaw', `nothing runs on ${stateDir}`);
  }
  return createClient(running.url, token);
}

/** The `up` of a state folder, if there is one. */
export function runningOn(
  io: Io,
  state: string | undefined,
): { running: Running | undefined; stateDir: string } {
  const { config } = settingsOf(io.env, { ...(state !== undefined && { state }) });
  const { stateDir } = config;
  return { running: readRunning(stateLayout(stateDir).running), stateDir };
}
