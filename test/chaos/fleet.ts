import type { Role } from '#libs/contracts';

/** One process of the system and the roles in it. */
export type Member = { name: string; roles: readonly Role[] };

const several = (count: number, ...roles: Role[]): Member[] =>
  Array.from({ length: count }, (_, index) => ({
    name: `${roles.join('+')}-${index + 1}`,
    roles,
  }));

/**
 * Each role in processes of its own; of workers, watchers and reactors more than one. Ledger and
 * gateway are one process each, as clients know them by one address.
 */
export const FULL_FLEET: readonly Member[] = [
  ...several(1, 'ledger'),
  ...several(1, 'gateway'),
  ...several(2, 'vault'),
  ...several(2, 'co'),
  ...several(2, 'integration'),
  ...several(3, 'worker'),
  ...several(2, 'observer'),
  ...several(2, 'duty-officer'),
  ...several(2, 'sentinel'),
  ...several(2, 'learning'),
  ...several(2, 'missions'),
  ...several(2, 'projects'),
  ...several(2, 'intake'),
  ...several(2, 'outbox'),
];

/** The same roles in fewer processes, for machines that have other work: what CI runs. */
export const SMALL_FLEET: readonly Member[] = [
  ...several(1, 'ledger'),
  ...several(1, 'gateway'),
  ...several(1, 'vault', 'co'),
  ...several(1, 'co', 'integration'),
  ...several(3, 'worker'),
  ...several(
    2,
    'observer',
    'duty-officer',
    'sentinel',
    'learning',
    'missions',
    'projects',
    'intake',
    'outbox',
  ),
];

export const FLEETS = { full: FULL_FLEET, small: SMALL_FLEET } as const;
