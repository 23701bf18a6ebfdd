import {
  ACCEPTED,
  BLOCKERS,
  NOT_A_DEED,
  NOT_NAMES,
  NOTED,
  PROMISE,
  REQUEST,
  RISKS,
  SETTLED,
  UNKNOWN,
} from './cues.ts';
import { type Due, findDue } from './dates.ts';
import type { People } from './people.ts';
import { likeness } from './rank.ts';
import type { Sentence } from './text.ts';

/** Something someone said they will do, or accepted to do. */
export type Commitment = {
  owner: string | undefined;
  /** The action: the sentence, or the part of it after "I will". */
  what: string;
  due?: Due;
  /** Who asked for it or, for a promise, who spoke before it: to them it is mostly made. */
  counterpart?: string;
  source: Sentence;
};

/** Finds commitments in order of the text, each deed once. */
export function findCommitments(
  sentences: readonly Sentence[],
  people: People,
  today?: string,
): Commitment[] {
  const found: Commitment[] = [];
  const turns = groupTurns(sentences);
  for (const [index, turn] of turns.entries()) {
    const speaker = turn[0]?.speaker;
    const before = turns
      .slice(Math.max(0, index - 20), index)
      .findLast((other) => other[0]?.speaker !== speaker)?.[0]?.speaker;
    for (const source of turn) {
      for (const { owner, what } of commitmentsIn(source, people)) {
        const counterpart = owner === speaker ? before : speaker;
        add(found, { owner, what, source, ...placed(counterpart, source, what, today) });
      }
    }
    const request = acceptedRequest(turn, turns[index + 1] ?? [], people);
    if (request !== undefined) {
      add(found, { ...request, ...placed(speaker, request.source, request.what, today) });
    }
  }
  return found;
}

function placed(
  counterpart: string | undefined,
  source: Sentence,
  what: string,
  today: string | undefined,
): Pick<Commitment, 'due' | 'counterpart'> {
  const due = findDue(what, today) ?? findDue(source.text, today);
  return { ...(due !== undefined && { due }), ...(counterpart !== undefined && { counterpart }) };
}

function commitmentsIn(
  source: Sentence,
  people: People,
): { owner: string | undefined; what: string }[] {
  const { text, speaker } = source;
  if (text.endsWith('?')) return [];
  const noted = NOTED.exec(text);
  if (noted?.[1] !== undefined) return [assigned(noted[1], people)];
  const conditional = /^(?:and |but |so )?(?:if|unless|when)\b/i.test(text);
  const clauses = text.split(/,? and (?=(?:I|we)(?:['’]ll| will)\b)|; /i);
  return clauses.flatMap((clause) => {
    const deed = PROMISE.exec(clause)?.[1];
    if (deed !== undefined) {
      if (
        NOT_A_DEED.test(deed) ||
        deed.split(' ').length < 3 ||
        /^do (?:that|it|so)\b/i.test(deed)
      ) {
        return [];
      }
      // A condition belongs to the promise, and without a day such a promise is only talk.
      if (conditional) return findDue(text) ? [{ owner: speaker, what: tidy(text) }] : [];
      return [{ owner: speaker, what: tidy(deed) }];
    }
    const plain = clause.replace(/^(?:and|but|so|then|also),? /i, '');
    return conditional ? [] : thirdPerson(plain, people, speaker !== undefined);
  });
}

/** "Maria will send the contract", where Maria is known, or may be a name in plain notes. */
function thirdPerson(clause: string, people: People, isTranscript: boolean) {
  const match =
    /(?:^|[\s,])(\p{Lu}[\p{L}'’-]+(?: \p{Lu}[\p{L}'’-]+){0,2}) (?:will|is going to) (.+)$/u.exec(
      clause,
    );
  if (match?.[1] === undefined || match[2] === undefined) return [];
  const known = people.find(match[1]);
  const plausible = !isTranscript && clause.startsWith(match[1]) && !NOT_NAMES.test(match[1]);
  if ((known === undefined && !plausible) || NOT_A_DEED.test(match[2])) return [];
  // In plain notes an unknown subject may be a thing; only one with a day counts.
  if (known === undefined && findDue(clause) === undefined) return [];
  return [{ owner: known ?? match[1], what: tidy(match[2]) }];
}

/** "Maria to send the contract", "Maria: send the contract", or a deed without an owner. */
function assigned(text: string, people: People) {
  const match = /^(\p{Lu}[\p{L}'’-]+(?: \p{Lu}[\p{L}'’-]+){0,2})(?: to|:| will|,) (.+)$/u.exec(
    text,
  );
  if (match?.[1] === undefined || match[2] === undefined)
    return { owner: undefined, what: tidy(text) };
  return { owner: people.find(match[1]) ?? match[1], what: tidy(match[2]) };
}

/** A request that the next speaker accepts without words of their own about it. */
function acceptedRequest(
  turn: readonly Sentence[],
  reply: readonly Sentence[],
  people: People,
): Pick<Commitment, 'owner' | 'what' | 'source'> | undefined {
  const answer = reply[0];
  if (answer?.speaker === undefined || !ACCEPTED.test(answer.text)) return undefined;
  if (reply.some((sentence) => commitmentsIn(sentence, people).length > 0)) return undefined;
  for (const source of turn.toReversed()) {
    const what = REQUEST.exec(source.text)?.[1];
    if (what !== undefined && source.tokens.length >= 2 && /^\p{Ll}/u.test(what)) {
      return { owner: answer.speaker, what: tidy(what), source };
    }
  }
  return undefined;
}

/** Adds unless the same owner's deed is there already; a repeat may supply a missing day. */
function add(found: Commitment[], next: Commitment): void {
  const same = found.slice(-200).find(
    (other) =>
      other.owner === next.owner &&
      likeness(other.source, next.source) >= 0.7 &&
      // One sentence may hold two deeds.
      (other.source !== next.source || other.what === next.what),
  );
  if (same === undefined) found.push(next);
  else if (same.due === undefined && next.due !== undefined) same.due = next.due;
}

function groupTurns(sentences: readonly Sentence[]): Sentence[][] {
  const turns: Sentence[][] = [];
  let last: Sentence | undefined;
  for (const sentence of sentences) {
    const same =
      last?.turn !== undefined && last.turn === sentence.turn && last.file === sentence.file;
    if (same) turns.at(-1)?.push(sentence);
    else turns.push([sentence]);
    last = sentence;
  }
  return turns;
}

function tidy(text: string): string {
  const trimmed = text.trim().replace(/[\s.,;!]+$/, '');
  return trimmed.slice(0, 1).toUpperCase() + trimmed.slice(1);
}

/** A sentence that names a risk or blocker; `weight` says how plainly. */
export type Risk = { kind: 'blocker' | 'risk'; weight: number; source: Sentence };

/** Finds risks and blockers, in order of the text; questions and settled ones are left out. */
export function findRisks(sentences: readonly Sentence[]): Risk[] {
  return sentences.flatMap((source) => {
    const { text, tokens } = source;
    if (text.endsWith('?') || tokens.length < 4 || SETTLED.test(text) || PROMISE.test(text))
      return [];
    const blocker = weigh(text, BLOCKERS);
    const risk = weigh(text, RISKS);
    if (blocker + risk === 0) return [];
    return [
      {
        kind: blocker > 0 ? ('blocker' as const) : ('risk' as const),
        weight: blocker + risk,
        source,
      },
    ];
  });
}

function weigh(text: string, cues: typeof RISKS): number {
  return cues.reduce((total, [cue, weight]) => (cue.test(text) ? total + weight : total), 0);
}

/** Sentences in which people settle something. */
export function findDecisions(sentences: readonly Sentence[]): Sentence[] {
  return sentences.filter(({ text, tokens }, index) => {
    if (text.endsWith('?') || tokens.length < 3) return false;
    if (/^agreed\b|\bwe(?: have|['’]ve)? (?:agreed|decided)\b|\bdecision\s*:/i.test(text))
      return true;
    const before = sentences[index - 1];
    const sameTurn = before?.turn !== undefined && before.turn === sentences[index]?.turn;
    return sameTurn && /^agreed[.!]?$/i.test(before.text);
  });
}

/** Questions whose answer was that nobody knows yet. */
export function findOpenQuestions(sentences: readonly Sentence[]): Sentence[] {
  return sentences.filter((sentence, index) => {
    if (!sentence.text.endsWith('?') || sentence.tokens.length < 3) return false;
    const answer = sentences
      .slice(index + 1, index + 3)
      .find((s) => s.speaker !== sentence.speaker);
    return UNKNOWN.test(answer?.text ?? '');
  });
}
