import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { z } from 'zod';

const shape = z.object({
  pid: z.int().min(1),
  /** Of the HTTP API. */
  url: z.string(),
  nats_url: z.string(),
  /** What the broker asks for, where it asks for something. */
  nats_token: z.string().optional(),
  version: z.string(),
  started_at: z.string(),
});

/** What a running `up` tells other commands. */
export type Running = z.output<typeof shape>;

/** Written whole or not at all; readable by its owner alone. */
export function writeRunning(path: string, running: Running): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(running, null, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

export function removeRunning(path: string): void {
  rmSync(path, { force: true });
}

/** The `up` that runs on this state folder; undefined where there is none, or a killed one left it. */
export function readRunning(path: string): Running | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (missing || error instanceof SyntaxError) return undefined;
    throw error;
  }
  const result = shape.safeParse(value);
  return result.success && isAlive(result.data.pid) ? result.data : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
