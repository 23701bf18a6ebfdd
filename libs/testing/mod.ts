export {
  startTestBroker,
  type TestBroker,
  type TestBrokerOptions,
  testLogger,
  waitFor,
} from './broker.ts';
export {
  type ClusterNode,
  startTestCluster,
  type TestCluster,
  type TestClusterOptions,
} from './cluster.ts';
export { type EventScript, eventScript, type Verdict, when } from './decider.ts';
export { arbitraryEvent, arbitraryLedger } from './event-arbitrary.ts';
export {
  type ModelMode,
  type ModelServer,
  type ServedRequest,
  type ServedToolCall,
  startModelServer,
} from './model-server.ts';
export { startProxy, type TestProxy } from './proxy.ts';
export {
  startTrackerServer,
  type TrackerRequest,
  type TrackerServer,
  type TrackerStep,
} from './tracker-server.ts';
export {
  type ReceivedRequest,
  type ReceiverMode,
  startReceiver,
  type TestReceiver,
} from './receiver.ts';
