const WORD = /[\p{L}\p{N}]+(?:['’.,:-][\p{L}\p{N}]+)*/gu;

const STOP_WORDS = new Set(
  `
    a about after again all also am an and any are as at be because been before being both
    but by can could did do does doing don't for from get go going got had has have having
    he her here him his how i i'd i'll i'm i've if in into is it it's its just let like me
    more most my no not now of off on once one only or other our out over own please really
    right same say says she should so some such than that that's the their them then there
    these they they're this those through to too two under until up us very want was we we'd
    we'll we're we've well were what when where which while who will with would yes you
    you'll you're your yeah okay ok
  `
    .trim()
    .split(/\s+/),
);

/** Words and numbers of a text in lower case, without stop words, plurals and endings cut. */
export function tokenize(text: string): string[] {
  const tokens: string[] = [];
  for (const [word] of text.toLowerCase().matchAll(WORD)) {
    const plain = word.replaceAll('’', "'");
    if (!STOP_WORDS.has(plain)) tokens.push(stem(plain));
  }
  return tokens;
}

/** Numbers, amounts and dates in a text, as written, for checks of fact. */
export function numbersIn(text: string): string[] {
  return text.match(/\d+(?:[.,:]\d+)*/g) ?? [];
}

function stem(word: string): string {
  const base = word.endsWith("'s") ? word.slice(0, -2) : word;
  if (base.length > 6 && base.endsWith('ing')) return base.slice(0, -3);
  if (base.length > 5 && base.endsWith('ies')) return `${base.slice(0, -3)}y`;
  if (base.length > 5 && base.endsWith('ed')) return base.slice(0, -2);
  if (base.length > 3 && base.endsWith('s') && !base.endsWith('ss')) return base.slice(0, -1);
  return base;
}
