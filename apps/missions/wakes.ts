/** What a mission was woken for, and how far a look at it has seen. */
type Seen = {
  /** Version of the mission that the last look that went well has seen. */
  done: number;
  /** The last look that failed: the message that comes again for it, and the version it saw. */
  failed: { seq: number; version: number } | undefined;
};

export type Wakes = {
  /** True: a look has covered this message, or another message will come again for it. */
  covers(mission: string, seq: number): boolean;
  /** A look for a message has seen a version, and has done or failed to do what that asks for. */
  looked(mission: string, seq: number, version: number, went: 'well' | 'wrong'): void;
};

const MISSIONS_MAX = 10_000;

/**
 * Remembers in one process which messages of a mission need no look of their own: a look decides on
 * the whole state, so it covers all messages up to the version it has seen. Of those that a failed
 * look has covered one comes again, however many there were. Forgetting costs looks, never steps.
 */
export function createWakes(missionsMax: number = MISSIONS_MAX): Wakes {
  const known = new Map<string, Seen>();
  return {
    covers(mission, seq) {
      const seen = known.get(mission);
      if (seen === undefined) return false;
      const { done, failed } = seen;
      return seq <= done || (failed !== undefined && seq !== failed.seq && seq <= failed.version);
    },
    looked(mission, seq, version, went) {
      const seen = known.get(mission) ?? { done: 0, failed: undefined };
      known.delete(mission);
      if (known.size >= missionsMax) known.delete(known.keys().next().value as string);
      const { done, failed } = seen;
      if (went === 'well') known.set(mission, { done: Math.max(done, version), failed: undefined });
      // The one that comes again already goes on to do so, for all that this look has seen too.
      else known.set(mission, { done, failed: { seq: failed?.seq ?? seq, version } });
    },
  };
}
