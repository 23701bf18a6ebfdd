/** The words that give a sentence its meaning to the local model; English, as the rest of it. */

/** Alternatives, one or more on a line, as one pattern. */
function anyOf(lines: string): string {
  return `(?:${lines
    .trim()
    .split(/\s*\n\s*/)
    .join('|')})`;
}

/** A pattern that finds one of the alternatives as whole words. */
function words(lines: string): RegExp {
  return new RegExp(String.raw`\b${anyOf(lines)}\b`, 'i');
}

/** A pattern for one of the alternatives at the start. */
function opening(lines: string): RegExp {
  return new RegExp(String.raw`^${anyOf(lines)}\b`, 'i');
}

const PROMISE_WORDS = anyOf(String.raw`
  ['’]ll| will
  am going to| are going to|['’]m going to|['’]re going to
  commit to| promise to
`);

/** "I will …": group 1 is the deed. */
export const PROMISE = new RegExp(
  String.raw`\b(?:I|we)${PROMISE_WORDS}\s+(?:also |then )?(.+)$`,
  'iu',
);

/** Beginnings of a deed that announce none. */
export const NOT_A_DEED = opening(String.raw`
  be (?:honest|quick|brief|clear|glad|happy|in touch|fine|okay|late|there|back)
  say|see|need|have to|want|hand|try|hope|never|not|wait|jump|pass
  start (?:with|by)|go first|come (?:back )?to|get to|talk about
  assume|guess|admit|miss|know|leave it
`);

/** "Action: …": group 1 is the deed. */
export const NOTED =
  /^(?:action(?: item)?|todo|to do|next steps?|follow[- ]?up|AI)\s*[:–-]\s*(.+)$/i;

/** "Could you …?": group 1 is the deed. */
export const REQUEST =
  /^(?:please|(?:and |then |so )?(?:can|could|would|will) you)\s+(?:please )?(.+?)[.?!]*$/i;

/** Answers that accept a request. */
export const ACCEPTED = opening(String.raw`
  yes|sure|will do|absolutely|of course|certainly|can do|yep
  no problem|happy to|good point|I can do that|I['’]ll do that
`);

/** Words that start a sentence like a name does and are none. */
export const NOT_NAMES = new RegExp(
  `^${anyOf('the|this|that|it|we|they|there|you|he|she|what|who|which|everyone|nobody|i|a|an')}$`,
  'i',
);

/** What stands in the way, with how plainly it says so. */
export const BLOCKERS: readonly (readonly [RegExp, number])[] = [
  [words('blocked|blocker|blocking|stuck|deal[- ]breaker|show[- ]?stopper'), 5],
  [
    words(String.raw`
      waiting (?:on|for)|dependency|depends? on
      (?:can ?not|can['’]t|unable to)\b.{1,80}\b(?:until|without)
      without\b.{1,80}\b(?:cannot|can['’]t|unable)
    `),
    4,
  ],
];

/** What may go wrong or did, with how plainly it says so. */
export const RISKS: readonly (readonly [RegExp, number])[] = [
  [
    words(String.raw`
      risks?|at risk|escalat\w+|churn|another vendor|competitor|not renew|cannot defend
    `),
    4,
  ],
  [
    words(String.raw`
      worried|concern(?:ed|s)?|penalt(?:y|ies)|outage|missed|data loss|breach
      not realistic|not in the budget|over budget
    `),
    3,
  ],
  [
    words(String.raw`
      fail(?:s|ed|ing|ure)?|delay(?:ed|s)?|slip(?:ped|s)?|timed? out
      late|duplicates?|not good enough|unhappy|wrong
    `),
    2,
  ],
];

/** A risk that is one no more. */
export const SETTLED = words(String.raw`
  resolved|no longer|fixed|solved|as a fallback|not a (?:risk|problem|blocker)
`);

/** Answers of someone who does not know yet. */
export const UNKNOWN = words(String.raw`
  not sure|don['’]t know|do not know|have to (?:check|ask)|need to check|get back to you
`);

/** Talk about the meeting itself, and wishes between people. */
export const SMALL_TALK = words(String.raw`
  weekend|weather|holiday|hello|goodbye|bye|good morning|thank you|thanks|sorry
  nice to|hope|wonderful|hear me|my screen|the agenda|over to you|walk us through
  repeat|anything else
`);

const OPENING_WORD = anyOf(String.raw`
  yeah|yes|yep|no|okay|ok|well|right|um|uh|oh|great|sure|good|perfect
  honestly|thanks|now|exactly
`);

/** Words that only open a sentence. */
export const OPENER = new RegExp(
  String.raw`^(?:(?:${OPENING_WORD}[,.!]|(?:and|but|so|then)(?:,| (?=\S+ \S+ \S+)))\s*)+`,
  'i',
);

/** Words of an objective that say what to do, not what it is about. */
export const INSTRUCTION = `
  summarize summarise summary bullets points short brief write give make list draft call transcript
  text input document report key main build create answer file notes find research verify check
  facts action items
`;

const NUMBER_WORD = 'one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve';
const POINT_WORD = anyOf(String.raw`
  bullets?|bullet points?|points?|items?|sentences?|lines?|takeaways?|findings?|facts?
`);

/** "into 5 bullets": group 1 is the number. */
export const ASKED_COUNT = new RegExp(
  String.raw`\b(\d{1,2}|${NUMBER_WORD})[ -]+(?:[a-z-]+ ){0,2}${POINT_WORD}\b`,
  'i',
);
