/**
 * A bounded cache of what was used of late: it holds at most 2 × `budget` in weight. Two maps take
 * turns; what was not asked for while one filled up is dropped with the other, all at once.
 */
export type Recent<K, V> = {
  get(key: K): V | undefined;
  set(key: K, value: V, weight: number): void;
  clear(): void;
  /** Weight held, at most 2 × budget and the last entry. */
  weight(): number;
};

type Slot<V> = { value: V; weight: number };

export function createRecent<K, V>(budget: number): Recent<K, V> {
  let young = new Map<K, Slot<V>>();
  let old = new Map<K, Slot<V>>();
  let youngWeight = 0;
  let oldWeight = 0;

  const put = (key: K, slot: Slot<V>): void => {
    youngWeight += slot.weight - (young.get(key)?.weight ?? 0);
    young.set(key, slot);
    if (youngWeight < budget) return;
    old = young;
    oldWeight = youngWeight;
    young = new Map();
    youngWeight = 0;
  };
  return {
    get(key) {
      const held = young.get(key);
      if (held !== undefined) return held.value;
      const slot = old.get(key);
      if (slot === undefined) return undefined;
      put(key, slot);
      return slot.value;
    },
    set: (key, value, weight) => put(key, { value, weight }),
    clear() {
      young = new Map();
      old = new Map();
      youngWeight = 0;
      oldWeight = 0;
    },
    weight: () => youngWeight + oldWeight,
  };
}
