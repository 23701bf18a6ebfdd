const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const MONTHS =
  'january february march april may june july august september october november december'.split(
    ' ',
  );
const DAY_MS = 86_400_000;

const WEEKDAY = `(?:${WEEKDAYS.join('|')})`;
const MONTH = `(?:${MONTHS.join('|')}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)`;
const DAY = String.raw`\d{1,2}(?:st|nd|rd|th)?`;
const MONTH_DAY = String.raw`${MONTH}\.? ${DAY}|${DAY} (?:of )?${MONTH}`;
const WEEK_OF = `the (?:first|second|third|fourth|last) week of ${MONTH}`;
const PART_OF_DAY = '(?: (?:morning|noon|afternoon|evening|night))?';
const DATE = [
  String.raw`\d{4}-\d{2}-\d{2}`,
  String.raw`(?:${WEEKDAY},? )?(?:the )?(?:${MONTH_DAY})\b(?:,? \d{4})?`,
  String.raw`(?:(?:next|this) )?${WEEKDAY}\b${PART_OF_DAY}`,
  'tomorrow(?: (?:morning|noon|afternoon|evening))?',
  'today|tonight|this (?:morning|afternoon|evening)|(?:the )?end of (?:the )?(?:day|business)|eod',
  '(?:the )?(?:end of (?:the |this )?(?:week|month|quarter|year)|end of next week)',
  WEEK_OF,
  '(?:this|next) (?:week|month|quarter)',
  `(?:the )?end of ${MONTH}`,
  String.raw`the ${DAY}\b`,
].join('|');
const AMOUNT = String.raw`(?:\d{1,3}|an?|one|two|three|four|five|six)`;
const SPAN = `(?:in|within) ${AMOUNT} (?:hours?|days?|weeks?|months?)`;
const BARE = [
  'tomorrow|today|tonight',
  '(?:this|next) (?:week|month|quarter|morning|afternoon|evening)',
  `(?:next|this) ${WEEKDAY}`,
  String.raw`\d{4}-\d{2}-\d{2}`,
].join('|');

/** Best first: a stated limit, then a day the thing happens on, then a bare mention. */
const FORMS = [
  new RegExp(String.raw`\b(?:by|before|until|no later than|due(?: on)?) (?:${DATE})`, 'i'),
  new RegExp(String.raw`\b(?:(?:on|for|in) )?(?:${SPAN}|on (?:${DATE})|${WEEK_OF})`, 'i'),
  new RegExp(String.raw`(?<!\b(?:of|for|from|since|until|after|on|last) )\b(?:${BARE})`, 'i'),
];

/** When something is due: the words of the source, and the day where the call's date tells it. */
export type Due = { text: string; date?: string };

/** Finds when the action in `text` is due; `today` is an ISO date that words as Friday refer to. */
export function findDue(text: string, today?: string): Due | undefined {
  for (const form of FORMS) {
    const match = form.exec(text);
    if (match === null) continue;
    const date = today === undefined ? undefined : resolveDate(match[0], today);
    return { text: match[0], ...(date !== undefined && { date }) };
  }
  return undefined;
}

/** The day that a phrase means, seen from `today` (ISO dates); undefined where it is open. */
export function resolveDate(phrase: string, today: string): string | undefined {
  const text = phrase.toLowerCase();
  const start = Date.parse(`${today}T00:00:00Z`);
  if (!Number.isFinite(start)) return undefined;
  const now = new Date(start);
  const plusDays = (days: number) => iso(start + days * DAY_MS);
  const literal = /\d{4}-\d{2}-\d{2}/.exec(text)?.[0];
  if (literal !== undefined) return literal;
  const span = /(\d{1,3}|an?|one|two|three|four|five|six) (hour|day|week|month)s?/.exec(text);
  if (span !== null) return plusDays(spanDays(span[1]!, span[2]!));
  const week = /(first|second|third|fourth|last) week of/.test(text);
  const monthAt = monthIn(text);
  if (week) return undefined;
  if (monthAt !== undefined) return monthDay(text, monthAt, now);
  if (/tomorrow/.test(text)) return plusDays(1);
  if (
    /today|tonight|this (morning|afternoon|evening)|end of (the )?(day|business)|eod/.test(text)
  ) {
    return today;
  }
  return relativeWeek(text, now, plusDays);
}

function relativeWeek(
  text: string,
  now: Date,
  plusDays: (days: number) => string,
): string | undefined {
  // Weeks start on Monday: 0 is Monday, 6 is Sunday.
  const weekday = (now.getUTCDay() + 6) % 7;
  const named = WEEKDAYS.findIndex((name) => text.includes(name));
  if (named >= 0) {
    const target = (named + 6) % 7;
    if (text.includes('next ')) return plusDays(7 - weekday + target);
    const ahead = (target - weekday + 7) % 7;
    return plusDays(ahead === 0 ? 7 : ahead);
  }
  const friday = 4 - weekday;
  if (/next week/.test(text)) return plusDays(friday + 7);
  if (/week/.test(text)) return plusDays(friday < 0 ? 0 : friday);
  const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()];
  if (/next month/.test(text)) return iso(Date.UTC(year, month + 2, 0));
  if (/month/.test(text)) return iso(Date.UTC(year, month + 1, 0));
  if (/next quarter/.test(text)) return iso(Date.UTC(year, (Math.floor(month / 3) + 2) * 3, 0));
  if (/quarter/.test(text)) return iso(Date.UTC(year, (Math.floor(month / 3) + 1) * 3, 0));
  if (/year/.test(text)) return iso(Date.UTC(year, 11, 31));
  const day = /the (\d{1,2})/.exec(text);
  if (day === null) return undefined;
  const passed = Number(day[1]) < now.getUTCDate();
  return dayOf(year, month + (passed ? 1 : 0), Number(day[1]));
}

function monthIn(text: string): number | undefined {
  const match = new RegExp(String.raw`\b${MONTH}\b`).exec(text);
  if (match === null) return undefined;
  return MONTHS.findIndex((name) => name.startsWith(match[0].slice(0, 3)));
}

function monthDay(text: string, month: number, now: Date): string | undefined {
  const year = /\b(\d{4})\b/.exec(text)?.[1];
  const day = /\b(\d{1,2})(?:st|nd|rd|th)?\b/.exec(text)?.[1];
  // A month that is well past in this year means the next one.
  const passed = month < now.getUTCMonth() - 1 ? 1 : 0;
  const inYear = year === undefined ? now.getUTCFullYear() + passed : Number(year);
  if (day === undefined) {
    return text.includes('end of') ? iso(Date.UTC(inYear, month + 1, 0)) : undefined;
  }
  return dayOf(inYear, month, Number(day));
}

function dayOf(year: number, month: number, day: number): string | undefined {
  const time = Date.UTC(year, month, day);
  return new Date(time).getUTCDate() === day ? iso(time) : undefined;
}

function spanDays(count: string, unit: string): number {
  const words = ['', 'one', 'two', 'three', 'four', 'five', 'six'];
  const amount = /^an?$/.test(count)
    ? 1
    : words.indexOf(count) > 0
      ? words.indexOf(count)
      : Number(count);
  const days = { hour: 1 / 24, day: 1, week: 7, month: 30 }[unit] ?? 1;
  return Math.ceil(amount * days);
}

function iso(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}
