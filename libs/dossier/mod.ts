export { ARTIFACT_INDEXED, artifactIndexed } from './announce.ts';
export { type Answer, classify, type Disposition, noAnswer, type Outcome } from './answers.ts';
export { DRAIN_BATCH, type Drained, type DrainOptions, drainQueue, lockDrain } from './drain.ts';
export { EVENTS_MAX, type EventQueue, openEventQueue, type QueuedEvent } from './event-queue.ts';
export { followQueue, type FollowQueueOptions, type Tick, TICK_MS } from './follow.ts';
export { drainEventQueue, EVENTS_PATH, type EventsOptions } from './push-events.ts';
export { PUSH_PATH, pushBody, type PushOptions } from './push.ts';
export {
  type BodyQueue,
  type Enqueued,
  FAILURES_MAX,
  openQueue,
  QUEUE_ROWS_MAX,
  type QueuedUpload,
  type QueueOptions,
  type QueueStatus,
} from './queue.ts';
export { backoffMs, decodeUtf8, RETRIES_MAX, type SkipReason, skipByPath } from './rules.ts';
export { BODY_STORED, type BodyStored, bodyStored, uuidOf } from './stored.ts';
export { type Artifact, hashOf, readUpload, type Scan, scanMission, type Skipped } from './scan.ts';
