import type { DeliveryState } from './delivery.ts';

/** Of one target, or of all. */
export type Ledger = Record<DeliveryState, number>;

export const HEALTH_WORDS = [
  'degraded',
  'misconfigured',
  'catching-up',
  'publishing',
  'idle',
  'not-configured',
] as const;
/** In the order of the list, the worst first. */
export type HealthWord = (typeof HEALTH_WORDS)[number];

export const EMPTY_LEDGER: Ledger = {
  pending: 0,
  retrying: 0,
  delivered: 0,
  duplicate: 0,
  rejected: 0,
  dead: 0,
  discarded: 0,
};

export type TargetStanding = {
  /** `missing`: nothing is configured under this name; `unusable`: without a secret, or so. */
  configured: 'yes' | 'missing' | 'unusable';
  ledger: Ledger;
};

/** How a target does, in one word. */
export function healthOfTarget({ configured, ledger }: TargetStanding): HealthWord {
  if (configured === 'missing') return 'not-configured';
  if (ledger.dead > 0 || ledger.rejected > 0) return 'degraded';
  if (configured === 'unusable') return 'misconfigured';
  if (ledger.retrying > 0) return 'catching-up';
  if (ledger.pending > 0) return 'publishing';
  return 'idle';
}

/** The worst of them; nothing configured is no fault. */
export function overallHealth(words: readonly HealthWord[]): HealthWord {
  return HEALTH_WORDS.find((word) => words.includes(word)) ?? 'not-configured';
}
