/** A JSON object from outside: any keys, any values. */
export type Json = Readonly<Record<string, unknown>>;

/** True for an object that is neither null nor an array. */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True for a string that holds more than white space. */
export function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '';
}

/** The trimmed text of the first value that is a filled string. */
export function firstFilled(...values: unknown[]): string | undefined {
  return values.find(isFilled)?.trim();
}

/** True for a time as `Date.toISOString` writes it: UTC, milliseconds, `Z`. */
export function isIsoTime(value: unknown): value is string {
  if (typeof value !== 'string' || value.length < 24 || value.length > 27) return false;
  const ms = Date.parse(value);
  return Number.isFinite(ms) && new Date(ms).toISOString() === value;
}

/** Length in Unicode code points. */
export function pointLength(text: string): number {
  let length = 0;
  for (const _point of text) length += 1;
  return length;
}

/** True for a text of at least `min` code points, without the white space around. */
export function isTrimmedAtLeast(value: unknown, min: number): boolean {
  return typeof value === 'string' && hasPoints(value.trim(), min, () => true);
}

/** True for a text of at least `min` code points that are not white space. */
export function isInkAtLeast(value: unknown, min: number): boolean {
  return typeof value === 'string' && hasPoints(value, min, (point) => !/\s/u.test(point));
}

/** Looks no further than it must: texts from outside may be long. */
function hasPoints(text: string, min: number, counts: (point: string) => boolean): boolean {
  let left = min;
  for (const point of text) {
    if (left <= 0) return true;
    if (counts(point)) left -= 1;
  }
  return left <= 0;
}

/** The text that an id stands for in comparisons: 1, "1" and " 1 " are one id. Undefined: no id. */
export function idText(value: unknown): string | undefined {
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  return isFilled(value) ? value.trim() : undefined;
}

/** A value as a message may repeat it: only text and numbers, never what `toString` would make. */
export function labelOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '(none)';
}

/** A phase number as the contract has it: an integer from 1. */
export function isPhaseNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

/** `value` if it is an array, else none. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Keys that reach into prototypes when they are assigned. */
const HOSTILE_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/** True for a key that no map of ours takes from outside. */
export function isHostileKey(key: string): boolean {
  return HOSTILE_KEYS.has(key);
}
