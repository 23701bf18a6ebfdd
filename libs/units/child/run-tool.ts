import { Script } from 'node:vm';
import { Usage } from './args.ts';
import { Missing, type Place } from './files.ts';
import { Denied } from './policy.ts';
import { TOOLS } from './tools.ts';

/** Exit codes of tools beyond their own. */
export const EXIT = {
  usage: 2,
  timeout: 124,
  /** The order's cap on calls or bytes is reached. */
  overCap: 125,
  denied: 126,
  unknown: 127,
} as const;

/** How one call ended. */
export type ToolResult = {
  exit: number;
  output: string;
  /** Why the policy refused it. */
  denied?: string;
};

// A regular expression can take for ever; only V8's own watchdog stops it in the middle.
const guarded = new Script('globalThis.ironclawRun()');
const scope = globalThis as { ironclawRun?: () => number };

/** Runs one tool on the worktree. Never throws; takes at most `limitMs`, answers at most `maxBytes`. */
export function runTool(
  place: Place,
  name: string,
  args: readonly string[],
  limits: { maxBytes: number; limitMs: number },
): ToolResult {
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined;
  if (tool === undefined) {
    const denied = `there is no tool ${name.slice(0, 40)}`;
    return { exit: EXIT.unknown, output: denied, denied };
  }
  const text = createText(limits.maxBytes);
  const end = (exit: number, why = ''): ToolResult => ({ exit, output: text.ended(why) });
  try {
    scope.ironclawRun = () => tool(place, args, text);
    const exit = Number(guarded.runInThisContext({ timeout: limits.limitMs }));
    return end(exit === 0 && text.complained() ? 1 : exit);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof Denied)
      return { ...end(EXIT.denied, `denied: ${message}`), denied: message };
    if (error instanceof Usage) return end(EXIT.usage, `${name}: ${message}`);
    if (error instanceof Missing) return end(1, `${name}: ${message}`);
    if (code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
      return end(EXIT.timeout, `${name}: stopped after ${limits.limitMs} ms`);
    }
    // What the operating system or the permission model refuses.
    if (typeof code === 'string') return end(1, `${name}: ${code}`);
    throw error;
  } finally {
    delete scope.ironclawRun;
  }
}

/** Collects output up to a limit. */
function createText(maxBytes: number) {
  const lines: string[] = [];
  let left = maxBytes;
  let cut = false;
  let complaints = 0;
  const line = (text: string): boolean => {
    if (cut) return false;
    const bytes = Buffer.byteLength(text) + 1;
    if (bytes > left) {
      lines.push(
        Buffer.from(text)
          .subarray(0, left)
          .toString()
          .replace(/\uFFFD$/, ''),
      );
      cut = true;
      return false;
    }
    left -= bytes;
    lines.push(text);
    return true;
  };
  return {
    line,
    complain: (text: string) => {
      complaints += 1;
      line(text);
    },
    complained: () => complaints > 0,
    ended: (why: string): string =>
      [...lines, ...(cut ? [`[output cut at ${maxBytes} bytes]`] : []), ...(why ? [why] : [])].join(
        '\n',
      ),
  };
}
