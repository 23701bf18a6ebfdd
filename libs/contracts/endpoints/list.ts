import { CO } from './co.ts';
import type { Endpoint } from './endpoint.ts';
import { GATEWAY } from './gateway.ts';
import { LEDGER } from './ledger.ts';
import { VAULT } from './vault.ts';
import { INTEGRATION, WORKER } from './work.ts';

/** The one endpoint list: routes, NATS subjects, OpenAPI and the client are derived from it. */
export const API = {
  gateway: GATEWAY,
  ledger: LEDGER,
  co: CO,
  vault: VAULT,
  worker: WORKER,
  integration: INTEGRATION,
} as const;

export const ENDPOINTS: readonly Endpoint[] = Object.values(API).flatMap((role) =>
  Object.values(role as Record<string, Endpoint>),
);
