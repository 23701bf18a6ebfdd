import { accept, refuse, type Result } from '#libs/missions';
import { type Context, reply, type Reply, type Work } from './answer.ts';
import { checkFlags, contractVersion, HANDLERS } from './commands.ts';
import { parseCommand, type Parsed } from './flags.ts';
import { findRepository } from './repository.ts';
import { openSession, type Session, type Surroundings } from './session.ts';

/** `orchestrator-api <words>`. Never throws. */
export function runOrchestratorApi(words: readonly string[], context: Context): Promise<Reply> {
  const parsed = parseCommand(words);
  if (!parsed.ok) {
    return reply(context, 'unknown', async () => ({
      command: 'unknown',
      mission: undefined,
      unparsed: true,
      outcome: parsed,
    }));
  }
  const { command } = parsed.value;
  return reply(context, command, (around) => run(parsed.value, around));
}

async function run({ command, flags }: Parsed, around: Surroundings): Promise<Work> {
  around.gate.command('cli in', command);
  const mission = typeof flags.mission === 'string' ? flags.mission : undefined;
  const done = (outcome: Work['outcome']): Work => ({ command, mission, outcome });
  const checked = checkFlags(command, flags);
  if (!checked.ok) return done(checked);
  if (command === 'contract-version') return done(contractVersion(checked.value));
  const opened = await openMission(mission ?? '', around);
  if (!opened.ok) return done(opened);
  const session = opened.value;
  try {
    const outcome = await HANDLERS[command]({ session, flags: checked.value, now: around.now });
    return done(outcome.ok ? accept({ ...session.board.identity, ...outcome.value }) : outcome);
  } finally {
    session.log.close();
  }
}

/** The mission that a selector names in the repository around; MISSION_NOT_FOUND. */
export async function openMission(
  selector: string,
  around: Surroundings,
): Promise<Result<Session>> {
  const repository = findRepository(around.env, around.cwd);
  if (repository === undefined) {
    const reason = `${around.cwd} lies in no git repository`;
    return refuse('MISSION_NOT_FOUND', { mission: selector.slice(0, 200), reason });
  }
  return openSession(repository, selector, around);
}
