import { API, type Channel, invalid } from '#libs/contracts';
import { createPublisher } from '#libs/eventlog';
import { decodeEntry } from '#libs/feeds';
import type { Projection, Reader } from '#libs/projections';
import {
  followFacts,
  healthHandler,
  openOwnView,
  type RoleContext,
  type RunningRole,
} from '#libs/runtime';
import { type Ctx, defineService, type OutsideRequest } from '#libs/service';
import { SECRET_VARIABLE, secretsFromEnv, SIGNATURE_HEADER, TIMESTAMP_HEADER } from '#libs/signing';
import { DEAD, FEEDS } from '#streams';
import { createFeedReads, reflected } from './feed-reads.ts';
import { liveItems } from './live.ts';
import { answerRequests, requestSubject, takeQueued } from './over-nats.ts';
import { createReceiver, type Receiver } from './receiver.ts';
import { createRejections } from './rejections.ts';
import { redriveDelivery } from './redrive.ts';
import { feedsView } from './views/feeds-view.ts';
import { demandHistory, searchMilestones } from './views/reads.ts';
import { decodeRejected, rejectedView } from './views/rejected-view.ts';

/** The receiver of signed milestones and demand snapshots, and the feeds that come of them. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, config, logger } = context;
  const secrets = secretsFromEnv(context.env);
  if (secrets.length === 0) {
    throw invalid(SECRET_VARIABLE, 'is not set; without a secret nothing could be verified');
  }
  const { signatureWindowMs: windowMs, signatureBound: requireBound } = config;
  const { feeds, rejected } = await openViews(context);
  const publisher = createPublisher(broker, FEEDS.name);
  const rejections = createRejections(broker, logger);
  const rules = { secrets, requireBound, windowMs };
  const receiver = createReceiver({ broker, publisher, rules, rejections });
  const requests = answerRequests(broker, receiver, logger);
  const queue = takeQueued(broker, receiver, logger);
  const now = () => Date.now();
  const read = createRead(feeds, receiver);

  const service = defineService(API.intake, {
    ingestMilestone: ingestOver('milestones', receiver),
    ingestDemand: ingestOver('demand', receiver),
    ...createFeedReads({ broker, feeds, rejected, receiver, rejections, now }),
    milestones: (input) => read(input, (reader) => searchMilestones(reader, input)),
    demandHistory: (input) => read(input, (reader) => demandHistory(reader, input)),
    stream: (input, ctx) => liveItems(broker, input, ctx.signal),
    redrive: ({ seq }) => redriveDelivery(broker, receiver, seq),
    health: healthHandler(context, 'intake'),
  });
  const keys = secrets.map(({ keyId }) => keyId);
  logger.info({ keys, windowMs, requireBound }, 'taking signed deliveries');
  return {
    service,
    close: async () => {
      await Promise.all([requests.stop(), queue.stop()]);
      publisher.close();
      await Promise.all([feeds.close(), rejected.close()]);
    },
  };
}

async function openViews(context: RoleContext) {
  const { broker } = context;
  const taken = followFacts(broker, { stream: FEEDS.name, decode: decodeEntry });
  const refused = followFacts(broker, { stream: DEAD.name, decode: decodeRejected });
  const feeds = await openOwnView(context, 'feeds', taken, [feedsView]);
  try {
    const rejected = await openOwnView(context, 'rejected', refused, [rejectedView]);
    return { feeds, rejected };
  } catch (error) {
    await feeds.close();
    throw error;
  }
}

function ingestOver(channel: Channel, receiver: Receiver) {
  return async ({ body }: OutsideRequest, ctx: Ctx) => {
    const [signature, timestamp] = [ctx.headers(SIGNATURE_HEADER), ctx.headers(TIMESTAMP_HEADER)];
    const given = { channel, body, signature, timestamp, arrivedMs: Date.now() };
    const source = { stream: '', seq: 0, subject: requestSubject(channel) };
    const { status, answer } = await receiver.take(given, source);
    return { status, body: answer };
  };
}

/** Answers from the feeds, once they reflect `at_least`, and says what they reflect. */
function createRead(feeds: Projection, receiver: Receiver) {
  return async <T>(
    input: { at_least?: number | undefined },
    query: (reader: Reader) => T,
  ): Promise<T & { as_of: number }> => {
    await feeds.reflect(input.at_least);
    await reflected(feeds, receiver.lastSeq());
    return feeds.read((reader) => ({ ...query(reader), as_of: reader.seq }));
  };
}
