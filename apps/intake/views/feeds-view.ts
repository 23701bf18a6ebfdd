import type { DatabaseSync } from 'node:sqlite';
import type { StoredEntry } from '#libs/feeds';
import type { View, ViewWriter } from '#libs/projections';

/** Every accepted delivery, with what it is found by; `at` is the event's own time in ms. */
export const feedsView: View<StoredEntry> = {
  name: 'feeds',
  version: 1,
  create(db) {
    db.exec(`
      CREATE TABLE milestones (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, scope TEXT NOT NULL, risk TEXT NOT NULL,
        source TEXT, evidence TEXT NOT NULL, words TEXT NOT NULL, received INTEGER NOT NULL,
        entry TEXT NOT NULL
      );
      CREATE INDEX milestones_at ON milestones (at, seq);
      CREATE TABLE demand (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, received INTEGER NOT NULL, entry TEXT NOT NULL
      );
      CREATE INDEX demand_at ON demand (at, seq);
    `);
  },
  open: writer,
};

function writer(db: DatabaseSync): ViewWriter<StoredEntry> {
  const milestone = db.prepare('INSERT INTO milestones VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
  const demand = db.prepare('INSERT INTO demand VALUES (?, ?, ?, ?)');
  return {
    apply({ events }) {
      for (const { seq, event_id: _id, ...entry } of events) {
        const received = Date.parse(entry.receipt.received_at);
        const text = JSON.stringify(entry);
        if (entry.channel === 'demand') {
          demand.run(seq, Date.parse(entry.item.generatedAtUtc), received, text);
          continue;
        }
        const { item } = entry;
        const types = `,${item.evidence.map(({ type }) => type).join(',')},`;
        const at = Date.parse(item.timestampUtc);
        const scope = folded(item.scope);
        const source = item.source ?? null;
        milestone.run(
          seq,
          at,
          scope,
          item.riskStatus,
          source,
          types,
          wordsOf(item),
          received,
          text,
        );
      }
      return undefined;
    },
    forget: () => undefined,
  };
}

/** As texts are compared: case does not matter, half surrogate pairs are U+FFFD. */
export function folded(text: string): string {
  return text.toLowerCase().toWellFormed();
}

function wordsOf(item: Extract<StoredEntry, { channel: 'milestones' }>['item']): string {
  const evidence = item.evidence.flatMap(({ path, summary, ref }) => [path, summary, ref ?? '']);
  const { milestoneId, scope, claim, nextAction } = item;
  return folded([milestoneId, scope, claim, nextAction, ...evidence].join('\n'));
}
