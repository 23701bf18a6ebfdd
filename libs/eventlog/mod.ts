export { type AggregateStore, createAggregateStore, type Loaded } from './aggregate.ts';
export { type Appended, type AppendOptions, type Expect } from './append.ts';
export type { BatchEntry } from './batch.ts';
export { type Decoded, decodeEvent, encodeEvent } from './codec.ts';
export { type DeadLetter, setAside } from './dead.ts';
export { type EventIndex, type EventLog, type EventLogOptions, openEventLog } from './eventlog.ts';
export type { Decode, EventBatch, PoisonMessage } from './cursor.ts';
export { type FactStream, followBatches, type FollowOptions, followStream } from './follow.ts';
export { createPublisher, type Publisher } from './publisher.ts';
export { createTurns, Later, type ReactorOptions, startReactor } from './react.ts';
export { type LiveFilter, liveEvents } from './live.ts';
export {
  ledgerTail,
  readBySeq,
  readFirst,
  readFrom,
  readSince,
  readStream,
  type StreamOf,
  streamTail,
  subjectVersion,
} from './read.ts';
export {
  deadSubject,
  jobSubject,
  LEDGER_STREAM,
  ledgerFilter,
  ledgerSubject,
  parseLedgerSubject,
  type Place,
  projectSubject,
} from './subjects.ts';
