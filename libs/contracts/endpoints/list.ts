import { CO } from './co.ts';
import type { Endpoint } from './endpoint.ts';
import { GATEWAY } from './gateway.ts';
import { INTAKE } from './intake.ts';
import { LEARNING } from './learning.ts';
import { LEDGER } from './ledger.ts';
import { MISSIONS } from './missions.ts';
import { PROJECTS } from './projects.ts';
import { OUTBOX } from './outbox.ts';
import { VAULT } from './vault.ts';
import { DUTY_OFFICER, OBSERVER, SENTINEL } from './watch.ts';
import { INTEGRATION, WORKER } from './work.ts';

/** The one endpoint list: routes, NATS subjects, OpenAPI and the client are derived from it. */
export const API = {
  gateway: GATEWAY,
  ledger: LEDGER,
  co: CO,
  vault: VAULT,
  worker: WORKER,
  integration: INTEGRATION,
  observer: OBSERVER,
  'duty-officer': DUTY_OFFICER,
  sentinel: SENTINEL,
  learning: LEARNING,
  missions: MISSIONS,
  projects: PROJECTS,
  outbox: OUTBOX,
  intake: INTAKE,
} as const;

export const ENDPOINTS: readonly Endpoint[] = Object.values(API).flatMap((role) =>
  Object.values(role as Record<string, Endpoint>),
);
