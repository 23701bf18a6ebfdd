import type { ModelRequest } from '../port.ts';
import { ASKED_COUNT, INSTRUCTION } from './cues.ts';
import {
  type Commitment,
  findCommitments,
  findDecisions,
  findOpenQuestions,
  findRisks,
} from './facts.ts';
import {
  actionTable,
  attributed,
  bullets,
  cite,
  commitmentsByOwner,
  point,
  quote,
  sections,
} from './layout.ts';
import { type AccountNotes, callAccount, callDate, People, readAccount } from './people.ts';
import { pickDiverse, type Ranked, rankSentences } from './rank.ts';
import { type Document, readDocuments, type Sentence } from './text.ts';
import { tokenize } from './tokens.ts';

const MAX_ACTIONS = 50;
const NOTHING = 'The given text holds no statements to work on.';

/** The parsed request: the documents to work on, and what was asked. */
export type Material = {
  documents: Document[];
  sentences: Sentence[];
  ranked: Ranked[];
  /** By day, those without one last. */
  commitments: Commitment[];
  people: People;
  account: AccountNotes | undefined;
  today: string | undefined;
};

type Asked = Pick<ModelRequest, 'files' | 'objective'>;

/** Parses and ranks what the request holds; context files inform, they are not summarised. */
export function gather(request: Asked): Material {
  const all = readDocuments(request.files);
  const account = readAccount(request.files);
  const documents = sourcesOf(all, request.objective);
  const sentences = documents.flatMap((document) => document.sentences);
  const people = new People(all, account);
  const today = documents.map(callDate).find((day) => day !== undefined);
  const found = documents.flatMap((one) => findCommitments(one.sentences, people, today));
  const commitments = found.sort((a, b) => (dueKey(a) < dueKey(b) ? -1 : 1)).slice(0, MAX_ACTIONS);
  const ranked = weighFacts(
    rankSentences(sentences, queryOf(request.objective)),
    sentences,
    commitments,
  );
  return { documents, sentences, ranked, commitments, people, account, today };
}

/** Risks and decisions matter more than their words tell; commitments have their own table. */
function weighFacts(
  ranked: readonly Ranked[],
  sentences: readonly Sentence[],
  commitments: readonly Commitment[],
): Ranked[] {
  const risks = new Map(findRisks(sentences).map(({ source, weight }) => [source, weight]));
  const decisions = new Set(findDecisions(sentences));
  const promised = new Set(commitments.map(({ source }) => source));
  const factor = (sentence: Sentence) =>
    (1 + 0.2 * (risks.get(sentence) ?? 0)) *
    (decisions.has(sentence) ? 1.5 : 1) *
    (promised.has(sentence) ? 0.6 : 1);
  return ranked
    .map(({ sentence, score }) => ({ sentence, score: score * factor(sentence) }))
    .sort((a, b) => b.score - a.score || a.sentence.order - b.sentence.order);
}

/** Sorts by day, then those with an open day, then those without, in order of the text. */
function dueKey({ due, source }: Commitment): string {
  const day = due === undefined ? '2' : due.date === undefined ? '1' : `0${due.date}`;
  return `${day} ${String(source.order).padStart(9, '0')}`;
}

/** Leaves out context files, mission data and a short message that only says what to do. */
function sourcesOf(documents: Document[], objective: string): Document[] {
  const name = (path: string) => path.split('/').at(-1) ?? path;
  const material = documents.filter(
    ({ path, sentences }) =>
      sentences.length > 0 && !path.startsWith('context/') && name(path) !== 'mission.json',
  );
  const asked = new Set(tokenize(objective));
  const real = material.filter(
    ({ path, sentences }) =>
      name(path) !== 'message.md' ||
      sentences.length > 5 ||
      !sentences.every(({ tokens }) => tokens.every((token) => asked.has(token))),
  );
  if (real.length > 0) return real;
  return material.length > 0 ? material : documents;
}

/** What the objective is about, without the words of the instruction itself. */
function queryOf(objective: string): string[] {
  const instruction = new Set(tokenize(INSTRUCTION));
  return [...new Set(tokenize(objective))].filter((token) => !instruction.has(token)).slice(0, 50);
}

const COUNT_WORDS = 'zero one two three four five six seven eight nine ten eleven twelve'.split(
  ' ',
);

/** The number of points an objective asks for, as "into 5 bullets"; 1 to 30. */
export function askedCount(objective: string): number | undefined {
  const match = ASKED_COUNT.exec(objective);
  if (match?.[1] === undefined) return undefined;
  const word = COUNT_WORDS.indexOf(match[1].toLowerCase());
  const count = word >= 0 ? word : Number(match[1]);
  return count >= 1 && count <= 30 ? count : undefined;
}

/** A title, a lead sentence and key points, as many as the objective asks for (else up to 7). */
export function draft(request: Asked): string {
  const material = gather(request);
  const { ranked, documents, sentences } = material;
  const title = titleOf(material, request.objective);
  if (ranked.length === 0) return `# ${title}\n\n${NOTHING}\n`;
  if (isRequestAlone(material)) {
    const said = sentences.map(quote).join(' ');
    return `# ${title}\n\nThere is no text to work on besides the request itself: ${said}\n`;
  }
  const asked = askedCount(request.objective);
  const wanted = asked ?? Math.min(7, Math.max(3, Math.round(sentences.length / 8)));
  // The lead is extra, so it is spared where the text has no more than the points asked for.
  const chosen = pickDiverse(ranked, wanted + 1);
  const lead = chosen.length > wanted ? chosen.shift() : undefined;
  const points = chosen.slice(0, wanted).sort((a, b) => a.order - b.order);
  const parts = [`# ${title}`];
  if (lead !== undefined) parts.push(point(lead));
  parts.push(`## Key points\n\n${bullets(points.map(point))}`);
  if (documents.some(({ isTranscript }) => isTranscript) && asked === undefined) {
    const actions = actionTable(material.commitments);
    if (actions !== undefined) parts.push(`## Action items\n\n${actions}`);
  }
  return `${parts.join('\n\n')}\n`;
}

/** True where all there is to read is a message of a sentence or two. */
function isRequestAlone({ documents, sentences }: Material): boolean {
  return sentences.length <= 2 && documents.every(({ path }) => /(?:^|\/)message\.md$/.test(path));
}

/** Findings as quotations with file and line, then numbers, risks and open questions. */
export function research(request: Asked): string {
  const { ranked, sentences } = gather(request);
  if (ranked.length === 0) return `# Findings\n\n${NOTHING}\n`;
  const wanted = Math.max(12, askedCount(request.objective) ?? 0);
  const findings = pickDiverse(ranked, wanted).sort((a, b) => a.order - b.order);
  const figures = ranked.filter(
    ({ sentence }) => /\d/.test(sentence.text) && !findings.includes(sentence),
  );
  const used = [...findings];
  const take = (from: readonly Ranked[], count: number) => {
    const picked = pickDiverse(from, count, used).sort((a, b) => a.order - b.order);
    used.push(...picked);
    return picked;
  };
  const risks = take(riskRanking(sentences, ranked), 6);
  const numbers = take(figures, 6);
  const questions = findOpenQuestions(sentences).slice(0, 6);
  return sections([
    ['# Findings', findings.map(cite)],
    ['## Numbers and dates', numbers.map(cite)],
    ['## Risks', risks.map(cite)],
    ['## Open questions', questions.map(cite)],
  ]);
}

/** `# Summary` with risks, decisions and commitments, a rule, and `# Action Items` as a table. */
export function callSummary(request: Asked): string {
  const material = gather(request);
  const { sentences, ranked, commitments } = material;
  const promised = new Set(commitments.map(({ source }) => source));
  const risky = findRisks(sentences);
  const blockerSet = new Set(
    risky.flatMap(({ kind, source }) => (kind === 'blocker' ? source : [])),
  );
  const chosen = pickDiverse(riskRanking(sentences, ranked), 10);
  const decisions = findDecisions(sentences).slice(0, 8);
  const rest = ranked.filter(
    ({ sentence }) =>
      !promised.has(sentence) && !chosen.includes(sentence) && !decisions.includes(sentence),
  );
  const main = pickDiverse(rest, 2, chosen).sort((a, b) => a.order - b.order);
  const lead = [headline(material), ...main.map(quote)].filter((part) => part !== '');
  const inOrder = chosen.sort((a, b) => a.order - b.order);
  const summary = sections([
    ['## Blockers', inOrder.filter((s) => blockerSet.has(s)).map(attributed)],
    ['## Risks', inOrder.filter((s) => !blockerSet.has(s)).map(attributed)],
    ['## Decisions', decisions.map(attributed)],
    ['## Commitments', commitmentsByOwner(commitments)],
    ['## Open questions', findOpenQuestions(sentences).slice(0, 5).map(attributed)],
  ]);
  const actions = actionTable(commitments) ?? 'No commitments were found in the text.';
  const opening = lead.length > 0 ? lead.join(' ') : NOTHING;
  return `# Summary\n\n${opening}\n\n${summary}\n---\n\n# Action Items\n\n${actions}\n`;
}

function headline({ documents, account, today, sentences }: Material): string {
  const speakers = [...new Set(sentences.flatMap(({ speaker }) => speaker ?? []))];
  const who =
    account?.account?.name ?? documents.map(callAccount).find((name) => name !== undefined);
  if (speakers.length === 0 && who === undefined) return '';
  const parts = [who === undefined ? 'Call' : `Call with ${who}`];
  if (today !== undefined) parts.push(` on ${today}`);
  if (speakers.length > 0) parts.push(` between ${speakers.slice(0, 12).join(', ')}`);
  const facts: string[] = [];
  if (account?.account?.health !== undefined)
    facts.push(`account health: ${account.account.health}`);
  const { ends } = account?.contract ?? {};
  if (ends !== undefined) facts.push(`contract ends ${ends}`);
  const said = sentences.map(({ text }) => text).join(' ');
  const tickets = (account?.open_tickets ?? []).filter(({ id }) => said.includes(id));
  if (tickets.length > 0)
    facts.push(`tickets discussed: ${tickets.map(({ id }) => id).join(', ')}`);
  return `${parts.join('')}${facts.length > 0 ? ` (${facts.join('; ')})` : ''}.`;
}

/** Risks as a ranking, so that the choice among them avoids repeats. */
function riskRanking(sentences: readonly Sentence[], ranked: readonly Ranked[]): Ranked[] {
  const scores = new Map(ranked.map(({ sentence, score }) => [sentence, score]));
  const top = ranked[0]?.score ?? 1;
  return findRisks(sentences)
    .map(({ source, weight }) => ({
      sentence: source,
      score: weight + (scores.get(source) ?? 0) / top,
    }))
    .sort((a, b) => b.score - a.score || a.sentence.order - b.sentence.order);
}

function titleOf({ documents, ranked }: Material, objective: string): string {
  // What an earlier step wrote is headed by what it is, not by what it is about.
  const given = documents.filter(({ path }) => !path.startsWith('outputs/'));
  const title = given.map((document) => document.title).find((text) => text !== undefined);
  if (title !== undefined) return title;
  const asked = objective.split('\n')[0]?.trim() ?? '';
  const best = asked === '' ? ranked[0]?.sentence.text : asked;
  return (best ?? 'Summary').replace(/^#+\s*/, '').slice(0, 100);
}

/** For a heading that a playbook asks for and no task writes: what the text says about it. */
export function aboutHeading(request: Asked, heading: string): string {
  const { sentences } = gather(request);
  const ranked = rankSentences(sentences, tokenize(heading));
  const points = pickDiverse(ranked, 5).sort((a, b) => a.order - b.order);
  return `${heading}\n\n${points.length > 0 ? bullets(points.map(cite)) : NOTHING}\n`;
}
