export { createRecent, type Recent } from './recent.ts';
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
