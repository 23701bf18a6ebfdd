import type { ModelFile } from '../port.ts';
import { tokenize } from './tokens.ts';

/**
 * One sentence with where it stands. `text` is a piece of the source, whitespace collapsed;
 * `tokens` is empty where it holds stop words alone, as in "Yes, I can do that."
 */
export type Sentence = {
  text: string;
  tokens: string[];
  file: string;
  /** 1-based line on which the sentence (or its paragraph's line) starts. */
  line: number;
  /** Position among all sentences of the request. */
  order: number;
  /** Who said it, and when, in a transcript. */
  speaker?: string;
  time?: string;
  /** Index of the speaker's turn; sentences of one turn share it. */
  turn?: number;
  /** `path:line` that the text itself gives as its source, as findings do. */
  citation?: string;
};

/** A parsed file. */
export type Document = {
  path: string;
  title?: string;
  isTranscript: boolean;
  /** Lines before the first turn of a transcript: date, participants and the like. */
  preamble: string[];
  sentences: Sentence[];
};

/** Text beyond this is left out, per request. */
export const MAX_CHARS = 4_000_000;
const MAX_SENTENCES = 100_000;
const MAX_SENTENCE_CHARS = 400;
const MAX_LABEL_CHARS = 160;
const MAX_CITATION_CHARS = 400;
const CITATION = /\s*\(([^()\s]+:\d+)\)\s*$/;

type Block = Pick<Sentence, 'text' | 'line' | 'speaker' | 'time' | 'turn'>;
type Turn = { speaker: string; time?: string; rest: string };

/** Splits files into sentences; understands transcripts, Markdown, JSON and plain prose. */
export function readDocuments(files: readonly ModelFile[]): Document[] {
  let charsLeft = MAX_CHARS;
  let order = 0;
  return files.map(({ path, text }) => {
    const document = readDocument(path, text.slice(0, Math.max(0, charsLeft)), order);
    charsLeft -= text.length;
    order += document.sentences.length;
    return document;
  });
}

function readDocument(path: string, text: string, firstOrder: number): Document {
  const lines = text.split(/\r\n|\r|\n/);
  const labels = countLabels(lines);
  const isTranscript = labels.turns >= 3;
  const { blocks, title, preamble } = isTranscript
    ? readTranscript(lines, labels.known)
    : readProse(isJson(path, text) ? jsonStrings(text) : lines);
  const sentences: Sentence[] = [];
  for (const { text: blockText, ...place } of blocks) {
    const cited = CITATION.exec(blockText.slice(-MAX_CITATION_CHARS));
    const stated = blockText.slice(0, blockText.length - (cited?.[0].length ?? 0));
    const citation = cited?.[1];
    for (const piece of splitSentences(stated)) {
      if (sentences.length + firstOrder >= MAX_SENTENCES) break;
      const tokens = tokenize(piece);
      if (!/[\p{L}\p{N}]/u.test(piece)) continue;
      const order = firstOrder + sentences.length;
      sentences.push({
        text: piece,
        tokens,
        file: path,
        order,
        ...place,
        ...(citation && { citation }),
      });
    }
  }
  return { path, isTranscript, preamble, sentences, ...(title !== undefined && { title }) };
}

const TIME = String.raw`[[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?[\])]?`;
const NAME_PART = String.raw`[\p{L}\p{N}.'’-]*`;
const PARTICLE = '(?:(?:de|van|der|von|da|di|el|al) )?';
const NAME = String.raw`\p{Lu}${NAME_PART}(?: ${PARTICLE}[\p{Lu}\p{N}]${NAME_PART}){0,3}`;
const ROLE = String.raw`(?:\s*\([^()]{1,60}\))?`;
const TURN = new RegExp(
  String.raw`^\s*(?:(${TIME})\s+)?(?:[-–]\s+)?\**(${NAME})${ROLE}\**(?:\s+(${TIME}))?\s*:\**(?:\s+|$)`,
  'u',
);
/** A speaker on a line of its own, as some meeting tools write it; the text follows below. */
const SPEAKER_LINE = new RegExp(String.raw`^\s*\**(${NAME})\**\s+(${TIME})\s*$`, 'u');

function matchTurn(line: string): Turn | undefined {
  const head = line.slice(0, MAX_LABEL_CHARS);
  const match = TURN.exec(head) ?? SPEAKER_LINE.exec(head);
  if (match === null) return undefined;
  const alone = match.length === 3;
  const speaker = (alone ? match[1] : match[2]) ?? '';
  const time = ((alone ? match[2] : (match[1] ?? match[3])) ?? '').replace(/[[\]()]/g, '');
  return { speaker, rest: line.slice(match[0].length), ...(time !== '' && { time }) };
}

/** A label is a speaker if it has a time, or returns; else it is a word before a colon. */
function countLabels(lines: readonly string[]): { turns: number; known: Set<string> } {
  const counts = new Map<string, number>();
  const timed = new Set<string>();
  for (const line of lines) {
    const turn = matchTurn(line);
    if (turn === undefined) continue;
    counts.set(turn.speaker, (counts.get(turn.speaker) ?? 0) + 1);
    if (turn.time !== undefined) timed.add(turn.speaker);
  }
  const known = new Set<string>();
  let turns = 0;
  for (const [label, count] of counts) {
    const isNotice = /^(note|action|todo|owner|due|date|risk|question|answer|q|a|step|item)s?$/i;
    if (!timed.has(label) && (count < 2 || isNotice.test(label))) continue;
    known.add(label);
    turns += count;
  }
  return { turns, known };
}

function readTranscript(lines: readonly string[], speakers: ReadonlySet<string>) {
  const blocks: Block[] = [];
  const preamble: string[] = [];
  let title: string | undefined;
  let current: Block | undefined;
  for (const [index, line] of lines.entries()) {
    const turn = matchTurn(line);
    if (turn !== undefined && speakers.has(turn.speaker)) {
      const { speaker, time, rest } = turn;
      current = { text: rest, line: index + 1, speaker, turn: blocks.length };
      if (time !== undefined) current.time = time;
      blocks.push(current);
    } else if (/^(?:\d{1,9}|WEBVTT.*)?$/.test(line.trim()) || line.includes('-->')) {
      // Blank lines, cue numbers and cue times of subtitle files.
    } else if (/^\s*#{1,6}\s/.test(line)) {
      title ??= line.replace(/^[\s#]+/, '').trim();
    } else if (current === undefined) {
      preamble.push(line.trim());
    } else {
      current.text += `\n${line}`;
    }
  }
  return { blocks, title, preamble };
}

function readProse(lines: readonly string[]) {
  const blocks: Block[] = [];
  let title: string | undefined;
  let current: Block | undefined;
  let fenced = false;
  for (const [index, raw] of lines.entries()) {
    if (/^\s*(```|~~~)/.test(raw)) {
      fenced = !fenced;
      current = undefined;
      continue;
    }
    const line = raw.replace(/^\s*(>\s*)+/, '');
    const heading = /^\s{0,3}#{1,6}\s+(.*)$/.exec(line);
    if (heading !== null) title ??= heading[1]?.trim();
    if (fenced || heading !== null || /^[\s|:=*_-]*$/.test(line)) {
      current = undefined;
      continue;
    }
    const bullet = /^\s*(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?/.exec(line);
    const row = /^\s*\|(.*)\|\s*$/.exec(line);
    const text = row?.[1] ?? line.slice(bullet?.[0].length ?? 0);
    if (current !== undefined && bullet === null && row === null) current.text += `\n${text}`;
    else {
      current = { text, line: index + 1 };
      blocks.push(current);
    }
    if (row !== null) current = undefined;
  }
  return { blocks, title, preamble: [] };
}

function isJson(path: string, text: string): boolean {
  return path.endsWith('.json') && /^\s*[[{]/.test(text);
}

/** The string values of a JSON text, each as a line; nothing where it cannot be read. */
function jsonStrings(text: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Not JSON after all: read it as prose.
    return text.split('\n');
  }
  const found: string[] = [];
  const open = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (typeof next === 'string') found.push(next.replace(/\s+/g, ' '), '');
    else if (typeof next === 'object' && next !== null) open.push(...Object.values(next).reverse());
  }
  return found;
}

const SHORT_FORMS = [
  'mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|approx|no|nr|inc|ltd|co|corp',
  String.raw`e\.g|i\.e|u\.s|a\.m|p\.m|\p{Lu}`,
].join('|');
const ABBREVIATION = new RegExp(String.raw`(?:^|[\s(])(?:${SHORT_FORMS})\.$`, 'iu');

/** Runs are bounded, so that a text of nothing but stops costs no more than others. */
const SENTENCE_END = /[.!?…]{1,5}["'”’)\]*_]{0,5}(?= )|[。！？]+/g;

/** Cuts at sentence ends, not after abbreviations; over-long pieces are cut between words. */
export function splitSentences(block: string): string[] {
  const text = block.replace(/\s+/g, ' ').trim();
  const pieces: string[] = [];
  let start = 0;
  for (const match of text.matchAll(SENTENCE_END)) {
    const end = match.index + match[0].length;
    const before = text.slice(Math.max(start, end - 12), end);
    if (match[0] === '.' && ABBREVIATION.test(before)) continue;
    if (/^ [\p{Ll}]/u.test(text.slice(end, end + 2)) && match[0].startsWith('.')) continue;
    pieces.push(text.slice(start, end));
    start = end;
  }
  pieces.push(text.slice(start));
  return pieces.flatMap(cutLong).filter((piece) => piece !== '');
}

function cutLong(piece: string): string[] {
  const parts: string[] = [];
  let rest = piece.trim();
  while (rest.length > MAX_SENTENCE_CHARS) {
    const space = rest.lastIndexOf(' ', MAX_SENTENCE_CHARS);
    const at = space > 0 ? space : MAX_SENTENCE_CHARS;
    parts.push(rest.slice(0, at));
    rest = rest.slice(at).trim();
  }
  return [...parts, rest];
}
