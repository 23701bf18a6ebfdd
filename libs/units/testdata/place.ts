import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { AppError } from '#libs/contracts';
import { prepareUnitCode } from '../code.ts';
import { assertWritable, Denied } from '../child/policy.ts';
import { runUnit, type UnitEnd, type UnitHost, type UnitPorts } from '../host.ts';
import { detectIsolation } from '../isolation.ts';
import type { Task, TaskLimits, ToolCall, ToolReport } from '../protocol.ts';

const LIMITS: TaskLimits = {
  fileBytes: 1_000_000,
  totalBytes: 2_000_000,
  files: 16,
  toolCalls: 16,
  toolBytes: 64_000,
  callBytes: 8_000,
  callMs: 1_000,
};

export type Played = {
  end: UnitEnd;
  reports: ToolReport[];
  results: { exit: number; output: string }[];
  writes: Record<string, string>;
  asked: { path: string; text: string }[];
};

/** A worktree folder with files, beside one that is out of bounds. */
export async function createPlace(files: Record<string, string> = {}) {
  const top = realpathSync(mkdtempSync(join(tmpdir(), 'ironclaw-unit-')));
  const root = join(top, 'worktree');
  const put = (path: string, text: string) => {
    const full = join(root, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, text);
  };
  mkdirSync(root);
  for (const [path, text] of Object.entries(files)) put(path, text);
  writeFileSync(join(top, 'outside.txt'), 'out of bounds\n');
  put('.git', 'gitdir: /somewhere\n');
  const isolation = await detectIsolation();
  const host: UnitHost = { codePath: await prepareUnitCode(join(top, 'code')), isolation };

  return {
    top,
    root,
    put,
    host,
    /** Runs a unit whose model asks for each group of calls in turn and then answers. */
    play: async (
      turns: [name: string, input: Record<string, unknown> | string[]][][],
      more: {
        root?: string;
        allow?: string[];
        wanted?: string[];
        limits?: Partial<TaskLimits>;
        outputs?: { path: string; text: string }[];
        host?: Partial<UnitHost>;
        signal?: AbortSignal;
        ports?: Partial<UnitPorts>;
      } = {},
    ): Promise<Played> => {
      const task: Task = {
        root: more.root ?? root,
        allow: more.allow ?? ['./'],
        wanted: more.wanted ?? [],
        limits: { ...LIMITS, ...more.limits },
      };
      const played: Omit<Played, 'end'> = { reports: [], results: [], writes: {}, asked: [] };
      const left = [...turns];
      const ports: UnitPorts = {
        ask: async ({ files: shown, results }) => {
          played.asked.push(...shown);
          played.results.push(...results);
          const next = left.shift();
          if (next === undefined) return { kind: 'answer', outputs: more.outputs ?? [] };
          return { kind: 'calls', calls: next.map(toCall) };
        },
        write: async ({ path, text }) => {
          try {
            played.writes[assertWritable(path, task.allow)] = text;
          } catch (error) {
            if (!(error instanceof Denied)) throw error;
            throw new AppError('TOOL_POLICY_VIOLATION', { reason: error.message });
          }
        },
        toolCalled: (report) => played.reports.push(report),
        ...more.ports,
      };
      const signal = more.signal ?? AbortSignal.timeout(20_000);
      const end = await runUnit({ ...host, ...more.host }, task, ports, signal);
      return { ...played, end };
    },
    [Symbol.dispose]: () => rmSync(top, { recursive: true, force: true }),
  };
}

function toCall([name, input]: [string, Record<string, unknown> | string[]]): ToolCall {
  return { id: `call-${name}`, name, input: Array.isArray(input) ? { args: input } : input };
}
