import type { ModelFile, ModelRequest } from '../port.ts';
import { readDocuments, type Sentence } from './text.ts';
import { numbersIn, tokenize } from './tokens.ts';

/** A statement holds if this share of its words stands close together in a source. */
const SUPPORTED = 0.6;
const MAX_POSTINGS = 200;
const MAX_STATEMENTS = 2_000;
const MAX_STATEMENT_CHARS = 2_000;
const MAX_LISTED = 100;

/** One statement of the draft and what the sources say to it. */
export type Check = {
  line: string;
  score: number;
  supported: boolean;
  /** The sentence that supports it best. */
  source?: Sentence;
  /** Numbers in the statement that no source holds. */
  unknownNumbers: string[];
};

/**
 * Checks each statement of the draft against the sources, and answers with the draft without the
 * unsupported ones under `# Final Answer`, and the checks under `# Verification`.
 */
export function verify(request: Pick<ModelRequest, 'files'>): string {
  const { draft, sources } = chooseDraft(request.files);
  if (draft === undefined) {
    return answer('There is no draft to check.', 'Nothing was checked.');
  }
  const index = indexOf(sources);
  const checks: Check[] = [];
  const kept: string[] = [];
  for (const line of draft.text.split(/\r?\n/)) {
    const text = line.trim().slice(0, MAX_STATEMENT_CHARS);
    if (!isStatement(text) || checks.length >= MAX_STATEMENTS) {
      // Headings go one level down, as the answer has its own.
      kept.push(line.replace(/^(#{1,5})(?=\s)/, '$1#'));
      continue;
    }
    const check = checkLine(text, index);
    checks.push(check);
    if (check.supported) kept.push(line);
  }
  const body = kept
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
  return answer(body, report(draft.path, checks));
}

function answer(final: string, checks: string): string {
  return `# Final Answer\n\n${final}\n\n# Verification\n\n${checks}\n`;
}

/** The draft is the newest-looking output; the run's inputs are the sources, else all the rest. */
function chooseDraft(files: readonly ModelFile[]) {
  const outputs = files.filter(({ path }) => path.startsWith('outputs/'));
  const draft =
    outputs.findLast(({ path }) => /draft[^/]*$/.test(path)) ?? outputs.at(-1) ?? files.at(-1);
  const others = files.filter((file) => file !== draft);
  const inputs = others.filter(({ path }) => !path.startsWith('outputs/'));
  return { draft, sources: inputs.length > 0 ? inputs : others };
}

/** Checks each statement of a file against the sources. */
export function checkStatements({ text }: ModelFile, sources: readonly ModelFile[]): Check[] {
  const index = indexOf(sources);
  return text
    .split(/\r?\n/)
    .map((line) => line.trim().slice(0, MAX_STATEMENT_CHARS))
    .filter(isStatement)
    .slice(0, MAX_STATEMENTS)
    .map((line) => checkLine(line, index));
}

function isStatement(line: string): boolean {
  const isLayout = /^(?:#|\|? ?:?-{3,}|\| ?#|```)/.test(line);
  return !isLayout && tokenize(line).length > 0;
}

type Index = {
  sentences: Sentence[];
  sets: Set<string>[];
  postings: Map<string, number[]>;
  numbers: Set<string>;
};

function indexOf(sources: readonly ModelFile[]): Index {
  const sentences = readDocuments(sources).flatMap((document) => document.sentences);
  const postings = new Map<string, number[]>();
  const numbers = new Set<string>();
  const sets = sentences.map(({ tokens }) => new Set(tokens));
  for (const [at, sentence] of sentences.entries()) {
    for (const number of numbersIn(sentence.text)) numbers.add(number);
    for (const part of [sentence.time, String(sentence.line)]) if (part) numbers.add(part);
    for (const token of sets[at]!) {
      const list = postings.get(token);
      if (list === undefined) postings.set(token, [at]);
      else if (list.length < MAX_POSTINGS) list.push(at);
    }
  }
  return { sentences, sets, postings, numbers };
}

function checkLine(line: string, index: Index): Check {
  // A citation, an attribution or a row's markers are not part of what is stated.
  const stated = line
    .replace(/\([^()]*:\d+\)\s*$/, '')
    .replace(/^[\s*\-|>]*(?:\d+[.)|]\s*)?/, '')
    .replace(/^[^:“]{1,60}:\s*“/, '“');
  const isRow = /^\s*\|/.test(line);
  const tokens = [...new Set(tokenize(stated))];
  const unknownNumbers = isRow ? [] : numbersIn(stated).filter((n) => !index.numbers.has(n));
  let score = 0;
  let source: Sentence | undefined;
  for (const at of candidates(tokens, index)) {
    const hits = tokens.filter((token) => index.sets[at]!.has(token)).length;
    // A statement may draw on two neighbouring sentences; their words count a little less.
    const near = tokens.filter(
      (token) =>
        !index.sets[at]!.has(token) &&
        (index.sets[at - 1]?.has(token) || index.sets[at + 1]?.has(token)),
    ).length;
    const value = (hits + near * 0.8) / (tokens.length || 1);
    if (value > score) [score, source] = [value, index.sentences[at]];
  }
  // A table row also holds the owner and the resolved day, which its source line need not.
  const needed = isRow ? SUPPORTED / 2 : SUPPORTED;
  const supported = tokens.length === 0 || (score >= needed && unknownNumbers.length === 0);
  return { line, score, supported, unknownNumbers, ...(source !== undefined && { source }) };
}

/** Where the rarest words of the statement stand. */
function candidates(tokens: readonly string[], { postings }: Index): Set<number> {
  const lists = tokens.flatMap((token) => {
    const list = postings.get(token);
    return list === undefined ? [] : [list];
  });
  return new Set(
    lists
      .sort((a, b) => a.length - b.length)
      .slice(0, 6)
      .flat(),
  );
}

export function report(path: string, checks: readonly Check[]): string {
  const failed = checks.filter(({ supported }) => !supported);
  const held = checks.length - failed.length;
  const lines = [`${held} of ${checks.length} statements of ${path} are supported by the sources.`];
  const supported = checks.filter((check) => check.supported && check.source !== undefined);
  lines.push(...listed('Left out, not supported:', failed), ...listed('Supported:', supported));
  return lines.join('\n');
}

function listed(title: string, checks: readonly Check[]): string[] {
  if (checks.length === 0) return [];
  const more = checks.length - MAX_LISTED;
  const rest = more > 0 ? [`- and ${more} more`] : [];
  return ['', title, '', ...checks.slice(0, MAX_LISTED).map(describe), ...rest];
}

function describe({ line, score, source, unknownNumbers }: Check): string {
  const gist = line
    .replace(/^[\s*\-|>]+/, '')
    .replace(/\s*\([^()]*:\d+\)\s*$/, '')
    .trim();
  const text = gist.length > 140 ? `${gist.slice(0, 139)}…` : gist;
  const numbers = unknownNumbers.length > 0 ? `, unknown numbers ${unknownNumbers.join(', ')}` : '';
  const where = source === undefined ? '' : `, ${source.file}:${source.line}`;
  return `- ${text} — ${Math.round(score * 100)}%${numbers}${where}`;
}
