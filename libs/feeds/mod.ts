export { composeDemand, DEMAND_SEGMENTS, demandTrend, isDemandStale } from './demand.ts';
export {
  decodeEntry,
  type FeedEntry,
  feedSubject,
  idOf,
  keyDigest,
  type Receipt,
  type StoredEntry,
} from './entry.ts';
export { composeOverview } from './overview.ts';
export {
  type Delivery,
  receive,
  type Received,
  type ReceiveRules,
  type Rejection,
} from './receive.ts';
