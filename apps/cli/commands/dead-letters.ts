import { API } from '#libs/contracts';
import type { Command } from 'commander';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { ago, facts, printable, table } from '../format.ts';
import type { Io } from '../io.ts';
import { type ConnectionOptions, connectTo, withConnection, withExamples } from '../options.ts';

type ListOptions = ConnectionOptions & { channel?: string; limit?: string; cursor?: string };

/** What a dead letter holds beyond the declared fields. */
type Letter = {
  source?: { stream: string; seq: number; subject: string };
  delivery?: { signature: string; timestamp: string; key?: string; digest: string; size: number };
};

export function deadLettersCommand(
  program: Command,
  run: (work: () => Promise<ExitCode>) => void,
  io: Io,
) {
  const command = program
    .command('deadletters')
    .summary('what could not be handled: list, show, redrive, discard (or ack)')
    .description('Jobs, messages and events that were set aside, each with the reason.');
  const list = command
    .command('list', { isDefault: true })
    .description('Dead letters, newest first, without their payloads.')
    .option('--channel <channel>', 'of this channel, as jobs, intake or reactor-co')
    .option('--limit <number>', 'at most so many', '20')
    .option('--cursor <cursor>', 'the next page of an earlier answer')
    .action((options: ListOptions) => run(() => listLetters(io, options)));
  withConnection(list);
  const one = (
    name: string,
    about: string,
    work: (io: Io, seq: string, options: ConnectionOptions) => Promise<ExitCode>,
  ) =>
    withConnection(
      command
        .command(`${name} <seq>`)
        .description(about)
        .action((seq: string, options: ConnectionOptions) =>
          run(() => {
            if (/^\d{1,15}$/.test(seq)) return work(io, seq, options);
            throw usage('a dead letter is named by its number', 'See: ironclaw deadletters list');
          }),
        ),
    );
  one('show', 'One dead letter with its payload.', showLetter);
  one('redrive', 'Send it again to where it came from, once.', redriveLetter);
  one('discard', 'Give it up; the ledger keeps that it was there.', discardLetter).alias('ack');
  withExamples(command, ['deadletters', 'deadletters show 12', 'deadletters redrive 12']);
}

async function listLetters(io: Io, options: ListOptions): Promise<ExitCode> {
  const { channel, limit, cursor } = options;
  const answer = await connectTo(io, options).call(API.ledger.deadLetters, {
    ...(channel !== undefined && { channel }),
    ...(limit !== undefined && { limit }),
    ...(cursor !== undefined && { cursor }),
  });
  if (options.json) {
    io.out(JSON.stringify(answer));
    return EXIT.ok;
  }
  const now = Date.now();
  const rows = answer.dead_letters.map((one) => [
    one.seq,
    one.channel,
    one.code,
    ago(one.at, now),
    one.bytes,
    one.reason,
  ]);
  const heads = ['seq', 'channel', 'code', 'since', 'bytes', 'reason'];
  io.out(table(heads, rows, { colours: io.colours.out, none: 'no dead letters' }));
  if (answer.next_cursor !== null) io.err(`more: --cursor ${answer.next_cursor}`);
  return EXIT.ok;
}

async function showLetter(io: Io, seq: string, options: ConnectionOptions): Promise<ExitCode> {
  const letter = await connectTo(io, options).call(API.ledger.deadLetter, { seq });
  if (options.json) {
    io.out(JSON.stringify(letter));
    return EXIT.ok;
  }
  const { source, delivery } = letter as typeof letter & Letter;
  io.out(
    facts([
      ['seq', letter.seq],
      ['channel', letter.channel],
      ['code', letter.code],
      ['reason', letter.reason],
      ['at', letter.at],
      ['signature', delivery?.signature],
      ['sent at', delivery?.timestamp],
      ['key', delivery?.key],
      ['digest', delivery?.digest],
      ['size', delivery?.size],
      // What came as a request lay in no stream.
      [
        'from',
        source &&
          [source.subject, ...(source.seq > 0 ? [source.stream, source.seq] : [])].join(' '),
      ],
      ['bytes', letter.bytes],
    ]),
  );
  io.out(`\n${printable(letter.payload)}`);
  return EXIT.ok;
}

async function redriveLetter(io: Io, seq: string, options: ConnectionOptions): Promise<ExitCode> {
  const answer = await connectTo(io, options).call(API.ledger.redrive, { seq });
  if (options.json) io.out(JSON.stringify(answer));
  else io.out(answer.duplicate === true ? `${seq} was redriven before` : `${seq} is redriven`);
  return EXIT.ok;
}

async function discardLetter(io: Io, seq: string, options: ConnectionOptions): Promise<ExitCode> {
  const answer = await connectTo(io, options).call(API.ledger.discard, { seq });
  if (options.json) io.out(JSON.stringify(answer));
  else io.out(answer.duplicate === true ? `${seq} was discarded before` : `${seq} is discarded`);
  return EXIT.ok;
}
