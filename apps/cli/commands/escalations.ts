import { API } from '#libs/contracts';
import type { Command } from 'commander';
import { EXIT, type ExitCode } from '../failure.ts';
import { ago, table } from '../format.ts';
import type { Io } from '../io.ts';
import { type ConnectionOptions, connectTo, withConnection, withExamples } from '../options.ts';

type ListOptions = ConnectionOptions & {
  theater?: string;
  run?: string;
  open?: true;
  limit?: string;
  cursor?: string;
};
type PersonOptions = ConnectionOptions & { by?: string; note?: string };

const ACTIONS = {
  ack: ['ackEscalation', 'Says that a person has seen it.', 'seen'],
  approve: ['approve', 'Decides that what waits for it may go on.', 'approved'],
  deny: ['deny', 'Decides that what waits for it must end; --note says why.', 'denied'],
} as const;

export function escalationsCommand(
  program: Command,
  run: (work: () => Promise<ExitCode>) => void,
  io: Io,
) {
  const command = program
    .command('escalations')
    .summary('see what asks for a person, and decide')
    .description('Escalations: where automation has come to its limit.');
  const list = command
    .command('list', { isDefault: true })
    .description('Escalations, newest first.')
    .option('--theater <id>', 'of this theater')
    .option('--run <id>', 'of this run')
    .option('--open', 'only those that nobody has seen or decided')
    .option('--limit <number>', 'at most so many', '20')
    .option('--cursor <cursor>', 'the next page of an earlier answer')
    .action((options: ListOptions) => run(() => listEscalations(io, options)));
  withConnection(list);
  for (const [word, [, description]] of Object.entries(ACTIONS)) {
    const one = command
      .command(`${word} <escalation-id>`)
      .description(description)
      .option('--by <person>', 'who says so (IRONCLAW_USER, USER)')
      .option('--note <text>', 'why')
      .action((id: string, options: PersonOptions) =>
        run(() => answer(io, word as keyof typeof ACTIONS, id, options)),
      );
    withConnection(one);
  }
  withExamples(command, [
    'escalations --open',
    'escalations approve 01KAH3… --note "looks right"',
    'escalations deny 01KAH3… --note "the tone is wrong"',
  ]);
}

async function listEscalations(io: Io, options: ListOptions): Promise<ExitCode> {
  const { theater, run, open, limit, cursor } = options;
  const page = await connectTo(io, options).call(API.gateway.escalations, {
    ...(theater !== undefined && { theater_id: theater }),
    ...(run !== undefined && { run_id: run }),
    ...(open && { state: 'open' as const }),
    ...(limit !== undefined && { limit }),
    ...(cursor !== undefined && { cursor }),
  });
  if (options.json) {
    io.out(JSON.stringify(page));
    return EXIT.ok;
  }
  const now = Date.now();
  const rows = page.escalations.map((one) => [
    one.escalation_id,
    one.severity,
    one.route,
    one.decision ?? (one.decision_by === null ? null : `by ${one.decision_by}`),
    one.acked_at === null ? '' : 'yes',
    ago(one.raised_at, now),
    one.reason,
  ]);
  const heads = ['escalation', 'severity', 'route', 'decision', 'seen', 'raised', 'reason'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no escalations' }));
  if (page.next_cursor !== null) io.err(`more: --cursor ${page.next_cursor}`);
  return EXIT.ok;
}

async function answer(
  io: Io,
  word: keyof typeof ACTIONS,
  escalation_id: string,
  options: PersonOptions,
): Promise<ExitCode> {
  const [name, , done] = ACTIONS[word];
  const by = options.by ?? (io.env.IRONCLAW_USER || io.env.USER || 'operator');
  const { note } = options;
  const given = { escalation_id, by, ...(note !== undefined && { note }) };
  // The schema refuses a denial without a note.
  const told = await connectTo(io, options).call(
    API.gateway[name],
    given as typeof given & { note: string },
  );
  io.out(options.json ? JSON.stringify(told) : `${escalation_id} ${done} by ${by}`);
  return EXIT.ok;
}
