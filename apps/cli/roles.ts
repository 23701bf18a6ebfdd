import type { Role } from '#libs/contracts';
import type { StartRole } from '#libs/runtime';

/** The front door of each role, loaded only where it is served. */
export const ROLE_DOORS: Readonly<Record<Role, () => Promise<{ start: StartRole }>>> = {
  ledger: () => import('../ledger/role.ts'),
  vault: () => import('../vault/role.ts'),
  observer: () => import('../observer/role.ts'),
  integration: () => import('../integration/role.ts'),
  worker: () => import('../worker/role.ts'),
  co: () => import('../co/role.ts'),
  intake: () => import('../intake/role.ts'),
  gateway: () => import('../gateway/role.ts'),
  'duty-officer': () => import('../duty-officer/role.ts'),
  sentinel: () => import('../sentinel/role.ts'),
  learning: () => import('../learning/role.ts'),
  missions: () => import('../missions/role.ts'),
  projects: () => import('../projects/role.ts'),
  outbox: () => import('../outbox/role.ts'),
};

/** In this order roles start: those that others call come first. They stop in the opposite order. */
export const START_ORDER = Object.keys(ROLE_DOORS) as Role[];
