export { type AggregateViewOptions, aggregateView } from './aggregate-view.ts';
export { type Digest, digestFile, dumpLines, type TableDigest } from './digest.ts';
export {
  openProjection,
  type Projection,
  type ProjectionOptions,
  type WaitOptions,
} from './projection.ts';
export type { Followed } from './projector.ts';
export { createRecent, type Recent } from './recent.ts';
export { type RowInserter, rowInserter } from './rows.ts';
export type {
  EventBatch,
  PoisonRow,
  Reader,
  Recorded,
  Row,
  Source,
  SqlValue,
  Undecodable,
  View,
  ViewBatch,
  ViewState,
  ViewStatus,
  ViewWriter,
} from './types.ts';
