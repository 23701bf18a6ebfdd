import type { Io } from '../../apps/cli/io.ts';
import { run } from '../../apps/cli/program.ts';

/** What a command has printed, line by line, and its exit code. */
export type Told = { code: number; out: string; err: string };

/** Runs a command line in this process, without colours. */
export async function runCli(env: Io['env'], args: readonly string[]): Promise<Told> {
  const told = { out: [] as string[], err: [] as string[] };
  const io: Io = {
    env,
    out: (line) => void told.out.push(line),
    err: (line) => void told.err.push(line),
    colours: { out: false, err: false },
  };
  const code = await run(args, io);
  return { code, out: told.out.join('\n'), err: told.err.join('\n') };
}
