/**
 * A bounded cache of what was used of late: at most 2 × `size` entries. Two maps take turns; what
 * was not asked for while one map filled up is dropped with the other, all at once.
 */
export type Recent<K, V> = {
  get(key: K): V | undefined;
  set(key: K, value: V): void;
  clear(): void;
  /** Entries held, at most 2 × size. */
  count(): number;
};

export function createRecent<K, V>(size: number): Recent<K, V> {
  let young = new Map<K, V>();
  let old = new Map<K, V>();
  const set = (key: K, value: V): void => {
    young.set(key, value);
    if (young.size < size) return;
    old = young;
    young = new Map();
  };
  return {
    get(key) {
      const held = young.get(key);
      if (held !== undefined) return held;
      const value = old.get(key);
      if (value !== undefined) set(key, value);
      return value;
    },
    set,
    clear() {
      young.clear();
      old.clear();
    },
    count: () => young.size + old.size,
  };
}
