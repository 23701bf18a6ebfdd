import { aggregateView } from '../aggregate-view.ts';
import type { View } from '../types.ts';

/** An event of the tests: adds to an account; `fail` makes the fold of accounts throw. */
export type Toy = { seq: number; event_id: string; account: string; add: number; fail?: true };

export function toy(seq: number, account = `a${seq % 5}`, more: Partial<Toy> = {}): Toy {
  return { seq, event_id: `e${seq}`, account, add: seq, ...more };
}

export function toys(from: number, to: number): Toy[] {
  return Array.from({ length: to - from + 1 }, (_, index) => toy(from + index));
}

export type Account = { account: string; total: number; events: number };

/** `padding` makes states heavy. */
export function accountsView(version = 1, padding = ''): View<Toy> {
  return aggregateView<Toy, Account & { padding: string }>({
    name: 'accounts',
    version,
    idOf: ({ account }) => account,
    evolve(state, { account, add, fail }) {
      if (fail) throw new Error('cannot be folded');
      const total = (state?.total ?? 0) + add;
      return { account, total, events: (state?.events ?? 0) + 1, padding };
    },
    columns: { sign: ({ total }) => (total % 2 === 0 ? 'even' : 'odd') },
  });
}

/** Every event as a row; a repeated id breaks its constraint. */
export const logView: View<Toy> = {
  name: 'log',
  version: 1,
  create: (db) => db.exec('CREATE TABLE log (seq INTEGER PRIMARY KEY, event_id TEXT UNIQUE)'),
  open(db) {
    const insert = db.prepare('INSERT INTO log VALUES (?, ?)');
    return {
      apply({ events }) {
        for (const { seq, event_id } of events) insert.run(seq, event_id);
        return undefined;
      },
      forget() {},
    };
  },
};
