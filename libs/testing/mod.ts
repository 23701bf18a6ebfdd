export {
  startTestBroker,
  type TestBroker,
  type TestBrokerOptions,
  testLogger,
  waitFor,
} from './broker.ts';
