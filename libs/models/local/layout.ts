import { OPENER } from './cues.ts';
import type { Commitment } from './facts.ts';
import type { Sentence } from './text.ts';

/** A sentence for display: without the words that only open it, first letter upper case. */
export function display({ text }: Sentence): string {
  const plain = text.replace(OPENER, '').replace(/^[\s"“*_]+|[\s"”*_]+$/g, '');
  const shown = /[\p{L}\p{N}]/u.test(plain) ? plain : text;
  return (shown.slice(0, 1).toUpperCase() + shown.slice(1)).replace(/^([#>|-])/, '\\$1');
}

/** A sentence with its speaker, in quotation marks where there is one. */
export function quote(sentence: Sentence): string {
  return sentence.speaker === undefined
    ? display(sentence)
    : `${sentence.speaker}: “${display(sentence)}”`;
}

/** A sentence with who said it and when behind it. */
export function attributed(sentence: Sentence): string {
  const place = [sentence.speaker, sentence.time].filter((part) => part !== undefined).join(', ');
  return place === '' ? display(sentence) : `${display(sentence)} (${place})`;
}

/** A quotation with its place in the files, `path:line`. */
export function cite(sentence: Sentence): string {
  return `${quote(sentence)} (${placeOf(sentence)})`;
}

/** The place a sentence stands at, or the one it cites. */
export function placeOf({ citation, file, line }: Sentence): string {
  return citation ?? `${file}:${line}`;
}

/** A quotation, with its place where the text gives one. */
export function point(sentence: Sentence): string {
  return sentence.citation === undefined ? quote(sentence) : cite(sentence);
}

/** A Markdown list. */
export function bullets(items: readonly string[]): string {
  return items.map((item) => `- ${item}`).join('\n');
}

/** Headings with lists under them; empty ones are left out. */
export function sections(parts: readonly [string, string[]][]): string {
  const shown = parts.filter(([, items]) => items.length > 0);
  return shown.map(([heading, items]) => `${heading}\n\n${bullets(items)}\n`).join('\n');
}

/** One line for each owner, with the deed that is due first. */
export function commitmentsByOwner(commitments: readonly Commitment[]): string[] {
  const owners = new Map<string, Commitment[]>();
  for (const commitment of commitments) {
    const owner = commitment.owner ?? 'Nobody named';
    owners.set(owner, [...(owners.get(owner) ?? []), commitment]);
  }
  return [...owners].map(([owner, [first, ...more]]) => {
    const when = first?.due?.date ?? first?.due?.text ?? 'no day given';
    const rest = more.length > 0 ? `; ${more.length} more below` : '';
    return `**${owner}**: ${first?.what} (${when})${rest}`;
  });
}

/** Commitments as a Markdown table; undefined without any. */
export function actionTable(commitments: readonly Commitment[]): string | undefined {
  if (commitments.length === 0) return undefined;
  const timed = commitments.some(({ source }) => source.time !== undefined);
  const rows = commitments.map((commitment, index) => {
    const { owner, what, counterpart, source } = commitment;
    const at = source.time ?? source.citation ?? `line ${source.line}`;
    return [
      String(index + 1),
      owner ?? 'not named',
      dueText(commitment),
      what,
      counterpart ?? '',
      at,
    ];
  });
  const head = ['#', 'Owner', 'Due', 'Action', 'With', timed ? 'At' : 'Where'];
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function dueText({ due }: Commitment): string {
  if (due === undefined) return '';
  return due.date === undefined || due.text.includes(due.date)
    ? due.text
    : `${due.date} (${due.text})`;
}
