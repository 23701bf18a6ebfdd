/** One value that differs; undefined where a side has none. */
export type JsonChange = { path: string; before?: unknown; after?: unknown };

type Values = Record<string, unknown>;

/**
 * What differs between two JSON values, by path (`$.phases[0].name`), object keys sorted. Arrays of
 * unequal length also have an entry `<path> (len)`. Stops after `max` entries.
 */
export function diffValues(before: unknown, after: unknown, max = Infinity): JsonChange[] {
  const changes: JsonChange[] = [];
  const tell = (path: string, a: unknown, b: unknown): void => {
    const change: JsonChange = { path };
    if (a !== undefined) change.before = a;
    if (b !== undefined) change.after = b;
    changes.push(change);
  };
  const visit = (path: string, a: unknown, b: unknown): void => {
    if (a === b || changes.length >= max) return;
    if (Array.isArray(a) && Array.isArray(b)) {
      if (a.length !== b.length) tell(`${path} (len)`, a.length, b.length);
      const length = Math.max(a.length, b.length);
      for (let i = 0; i < length; i += 1) visit(`${path}[${i}]`, a[i], b[i]);
      return;
    }
    if (!isRecord(a) || !isRecord(b)) {
      tell(path, a, b);
      return;
    }
    for (const key of keysOf(a, b)) visit(`${path}.${key}`, own(a, key), own(b, key));
  };
  visit('$', before, after);
  return changes.slice(0, max);
}

/** The paths of `diffValues`. */
export function diffPaths(before: unknown, after: unknown, max = Infinity): string[] {
  return diffValues(before, after, max).map(({ path }) => path);
}

function isRecord(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function keysOf(a: Values, b: Values): string[] {
  const keys = Object.keys(a);
  for (const key of Object.keys(b)) if (!Object.hasOwn(a, key)) keys.push(key);
  return keys.sort();
}

function own(record: Values, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
