import { refuse, type Result } from '#libs/missions';
import { type Context, reply, type Reply, type Work } from './answer.ts';
import { finalizeTasks, markStatus } from './host-commands.ts';
import { parseFlags } from './flags.ts';
import { runOrchestratorApi } from './run.ts';

const HOST_COMMANDS = [
  { words: ['agent', 'mission', 'finalize-tasks'], name: 'finalize-tasks', run: finalizeTasks },
  { words: ['agent', 'tasks', 'mark-status'], name: 'mark-status', run: markStatus },
] as const;

/** `spec-kitty <words>`: the orchestrator API, and the two commands that its clients use around it. */
export function runSpecKitty(words: readonly string[], context: Context): Promise<Reply> {
  if (words[0] === 'orchestrator-api') return runOrchestratorApi(words.slice(1), context);
  const found = HOST_COMMANDS.find((command) =>
    command.words.every((word, i) => words[i] === word),
  );
  if (found === undefined) {
    const known = ['orchestrator-api', ...HOST_COMMANDS.map((command) => command.words.join(' '))];
    const outcome = refuse('USAGE_ERROR', { reason: `use one of: ${known.join(', ')}` });
    return reply(context, 'unknown', async () => unparsed(outcome));
  }
  const { run, name } = found;
  const table = { ...run.flags, json: { kind: 'switch' } } as const;
  const parsed = parseFlags(table, words.slice(found.words.length), run.wordsMax);
  if (!parsed.ok) return reply(context, 'unknown', async () => unparsed(parsed));
  return reply(context, name, (around) => run.work(parsed.value.flags, parsed.value.rest, around));
}

function unparsed(outcome: Result<never>): Work {
  return { command: 'unknown', mission: undefined, unparsed: true, outcome };
}
