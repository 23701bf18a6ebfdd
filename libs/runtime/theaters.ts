import { dirname, join } from 'node:path';
import { type Broker, callBroker } from '#libs/broker';
import type { Theater } from '#libs/worktrees';
import { AppError } from '#libs/contracts';
import {
  ledgerFilter,
  ledgerSubject,
  LEDGER_STREAM,
  parseLedgerSubject,
  readFrom,
} from '#libs/eventlog';

export type TheaterDirectory = {
  /** Undefined where the theater was never opened. */
  find(theaterId: string): Promise<Theater | undefined>;
  /** @throws {THEATER_NOT_FOUND} with `field` theater_id */
  get(theaterId: string): Promise<Theater>;
  /** Theaters in which events name this order. */
  ofOrder(orderId: string): Promise<string[]>;
};

const CACHED = 1_000;

/** Finds theaters in the ledger itself; what was found is kept, as a theater never moves. */
export function createTheaterDirectory(broker: Broker, garrisonId: string): TheaterDirectory {
  const known = new Map<string, Theater>();

  const find = async (theaterId: string): Promise<Theater | undefined> => {
    const cached = known.get(theaterId);
    if (cached !== undefined) return cached;
    const subject = ledgerSubject({ garrison_id: garrisonId, theater_id: theaterId });
    for await (const page of readFrom(broker, subject, 1)) {
      for (const event of page) {
        if (event.type !== 'THEATER_OPENED') continue;
        const { repo_path, worktrees_path, mainline } = event.payload;
        if (repo_path === undefined || worktrees_path === undefined) continue;
        const record = {
          theaterId,
          repoPath: repo_path,
          gitDir: join(repo_path, '.git'),
          worktreesPath: worktrees_path,
          archivePath: join(dirname(worktrees_path), 'archive'),
          mainline: mainline ?? 'main',
        };
        if (known.size >= CACHED) known.delete(known.keys().next().value as string);
        known.set(theaterId, record);
        return record;
      }
    }
    return undefined;
  };

  return {
    find,
    get: async (theaterId) => {
      const record = await find(theaterId);
      if (record !== undefined) return record;
      throw new AppError('THEATER_NOT_FOUND', { id: theaterId }, { field: 'theater_id' });
    },
    ofOrder: async (orderId) => {
      const filter = ledgerFilter({ garrison_id: garrisonId, order_id: orderId });
      const info = await callBroker(broker, () =>
        broker.jsm.streams.info(LEDGER_STREAM, { subjects_filter: filter }),
      );
      const theaters = Object.keys(info.state.subjects ?? {}).map(
        (s) => parseLedgerSubject(s)?.theater_id,
      );
      return [...new Set(theaters)].filter((theater) => typeof theater === 'string');
    },
  };
}
