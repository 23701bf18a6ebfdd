export { type DeliveryPolicy, waitMs } from './backoff.ts';
export {
  decideDiscard,
  decideRedrive,
  type Delivery,
  type DeliveryEvent,
  DELIVERY_STATES,
  type DeliveryState,
  evolveDelivery,
} from './delivery.ts';
export { type Send } from './deliverer.ts';
export { type Emission, type Emitted, emitDemand, emitMilestone } from './emit.ts';
export {
  EMPTY_LEDGER,
  healthOfTarget,
  type HealthWord,
  HEALTH_WORDS,
  type Ledger,
  overallHealth,
  type TargetStanding,
} from './health.ts';
export { type Destination, openOutbox, type Outbox } from './outbox.ts';
export type { OutboxStore, StoredDelivery } from './store.ts';
export { createLease, type Lease } from './lease.ts';
export { createSigner } from './sign.ts';
export { isDeliveryId } from './subjects.ts';
export { createSend, type SignBody } from './transports.ts';
export {
  countTargets,
  type DeliveryRow,
  emptyCounts,
  findDelivery,
  lastFingerprint,
  listDeliveries,
} from './view.ts';
