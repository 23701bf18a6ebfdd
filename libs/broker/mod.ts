export {
  type Broker,
  type BrokerAuth,
  brokerAuthFromEnv,
  type ConnectOptions,
  connectBroker,
} from './connect.ts';
export {
  type BrokerExit,
  type RunningBroker,
  type StartBrokerOptions,
  startBroker,
} from './server.ts';
export { isSupportedVersion, MIN_API_LEVEL, SUPPORTED_VERSIONS } from './binary.ts';
