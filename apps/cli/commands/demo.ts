import type { Command } from 'commander';
import type { ExitCode } from '../failure.ts';
import type { Io } from '../io.ts';
export function demoCommand(
  _program: Command,
  _run: (work: () => Promise<ExitCode>) => void,
  _io: Io,
) {}
