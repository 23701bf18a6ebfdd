import type { Broker } from '#libs/broker';
import type { Governance } from '#libs/contracts';
import { ledgerFilter, readFrom } from '#libs/eventlog';

/** Where an order stands; ids as events have them. */
export type GovernedPlace = {
  theater_id: string | null;
  run_id: string | null;
  order_id: string | null;
};

/** Finds the phase of a project that an order belongs to: what it names itself, else its run. */
export type GovernanceOf = (place: GovernedPlace) => Promise<Governance | undefined>;

const HELD = 10_000;

/**
 * Orders and runs name their phase when they are created, once and for good, so what was found is
 * kept. What was not created yet is asked for again.
 */
export function createGovernance(broker: Broker, garrisonId: string): GovernanceOf {
  const held = new Map<string, { governance: Governance | undefined }>();

  const created = async (
    place: GovernedPlace,
    type: 'ORDER_CREATED' | 'RUN_CREATED',
  ): Promise<{ governance: Governance | undefined } | undefined> => {
    const filter = ledgerFilter({ garrison_id: garrisonId, ...place });
    const known = held.get(filter);
    if (known !== undefined) return known;
    for await (const page of readFrom(broker, filter, 1)) {
      const event = page.find((one) => one.type === type);
      if (event === undefined) continue;
      const found = { governance: (event.payload as { governance?: Governance }).governance };
      if (held.size >= HELD) held.delete(held.keys().next().value as string);
      held.set(filter, found);
      return found;
    }
    return undefined;
  };

  return async (place) => {
    if (place.order_id !== null) {
      const own = (await created(place, 'ORDER_CREATED'))?.governance;
      if (own !== undefined) return own;
    }
    if (place.run_id === null) return undefined;
    return (await created({ ...place, order_id: null }, 'RUN_CREATED'))?.governance;
  };
}
