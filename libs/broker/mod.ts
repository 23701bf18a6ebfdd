export { isSupportedVersion, MIN_API_LEVEL, SUPPORTED_VERSIONS } from './binary.ts';
export {
  type Broker,
  type BrokerAuth,
  brokerAuthFromEnv,
  type ConnectOptions,
  connectBroker,
} from './connect.ts';
export {
  type ConsumeOptions,
  type Consuming,
  consumeDurable,
  ensureConsumer,
  retryDelayMs,
} from './consume.ts';
export { fromNanos, toNanos, toTtl } from './durations.ts';
export { publishAllAt, publishAt, readLast } from './facts.ts';
export { brokerUnavailable, callBroker, callPatiently, isBrokerUnavailable } from './failures.ts';
export { getObject, OBJECT_LIMIT_BYTES, putObject, type StoredObject } from './objects.ts';
export {
  type BrokerExit,
  type RunningBroker,
  type StartBrokerOptions,
  startBroker,
} from './server.ts';
export { type AnswerRequest, requestAnswer } from './request.ts';
export type { StreamChange, StreamPlan } from './stream-plan.ts';
export { applyStreams, checkStreams, planStreams } from './streams.ts';
export {
  type ConsumeTimersOptions,
  cancelTimer,
  consumeTimers,
  type FiredTimer,
  scheduleTimer,
  type Timer,
} from './timers.ts';
