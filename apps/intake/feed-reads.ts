import { type Broker, callBroker } from '#libs/broker';
import { API, invalid, isAppError, LIMITS } from '#libs/contracts';
import { composeDemand, composeOverview, isDemandStale } from '#libs/feeds';
import type { Projection } from '#libs/projections';
import type { OutsideRequest } from '#libs/service';
import { DEAD } from '#streams';
import type { Receiver } from './receiver.ts';
import type { Rejections } from './rejections.ts';
import { lastAcceptedAt, latestDemand, latestMilestones } from './views/reads.ts';
import { listRejected } from './views/rejected-view.ts';

export type FeedReadParts = {
  broker: Broker;
  feeds: Projection;
  rejected: Projection;
  receiver: Receiver;
  rejections: Rejections;
  now: () => number;
};

/** The reads of the contract. What this process has answered before is in them. */
export function createFeedReads(parts: FeedReadParts) {
  const { broker, feeds, rejected, receiver, rejections, now } = parts;

  const deadLetters = async (channel: string) => {
    await reflected(rejected, rejections.lastSeq());
    const gone = await goneFrom(broker);
    return rejected.read((reader) => listRejected(reader, channel, gone, LIMITS.rejectedListed));
  };

  return {
    latest: async ({ fields }: OutsideRequest) => {
      const limit = limitOf(fields.limit);
      await reflected(feeds, receiver.lastSeq());
      const items = feeds.read((reader) => latestMilestones(reader, limit));
      return { status: 200, body: { ok: true, items } };
    },
    deadLetter: async () => {
      const items = (await deadLetters('milestones')).map(({ at, reason, key }) => ({
        timestampUtc: at,
        reason,
        ...(key !== null && { idempotencyKey: key }),
      }));
      return { status: 200, body: { ok: true, items, count: items.length } };
    },
    demandLive: async () => {
      await reflected(feeds, receiver.lastSeq());
      const snapshot = feeds.read(latestDemand);
      return { status: 200, body: { ok: true, snapshot, stale: isDemandStale(snapshot, now()) } };
    },
    demand: async () => {
      await reflected(feeds, receiver.lastSeq());
      return { status: 200, body: { ok: true, ...composeDemand(feeds.read(latestDemand), now()) } };
    },
    overview: async () => {
      const deadLetterCount = (await deadLetters('milestones')).length;
      await reflected(feeds, receiver.lastSeq());
      const body = feeds.read((reader) =>
        composeOverview({
          items: latestMilestones(reader, LIMITS.feedItems),
          lastAcceptedAt: lastAcceptedAt(reader),
          deadLetterCount,
          // Under its role's name it stands wherever the overview does.
          realtimeChannel: `/${API.intake.stream.role}${API.intake.stream.path}`,
          nowMs: now(),
        }),
      );
      return { status: 200, body };
    },
  };
}

/** 1 to 50; larger numbers mean 50. @throws {INVALID_REQUEST} anything else */
function limitOf(text: string | undefined): number {
  if (text === undefined) return LIMITS.feedItemsDefault;
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw invalid('limit', `must be a whole number from 1 to ${LIMITS.feedItems}`);
  }
  return Math.min(LIMITS.feedItems, Number(text));
}

/** Waits until the view has what was stored; one that is far behind still answers, as of then. */
export async function reflected(view: Projection, seq: number): Promise<void> {
  try {
    await view.waitFor(seq, { timeoutMs: LIMITS.atLeastWaitMs });
  } catch (error) {
    if (!isAppError(error, 'VIEW_BEHIND')) throw error;
  }
}

/** Letters that were dealt with or dropped; while the broker is away none are known to be. */
async function goneFrom(broker: Broker): Promise<{ before: number; seqs: ReadonlySet<number> }> {
  try {
    const { state } = await callBroker(broker, () =>
      broker.jsm.streams.info(DEAD.name, { deleted_details: true }),
    );
    return { before: state.first_seq, seqs: new Set(state.deleted) };
  } catch (error) {
    if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
    return { before: 0, seqs: new Set() };
  }
}
