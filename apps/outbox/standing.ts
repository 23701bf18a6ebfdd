import { CHANNELS, type TargetSettings } from '#libs/contracts';
import {
  countTargets,
  emptyCounts,
  healthOfTarget,
  overallHealth,
  type TargetStanding,
} from '#libs/outbox';
import type { Reader } from '#libs/projections';

export type Configured = {
  targets: Readonly<Record<string, TargetSettings>>;
  /** Names of those that can be sent to. */
  usable: ReadonlySet<string>;
};

/** How every target does that is configured, or for which something is there. */
export function standingOf(reader: Reader, { targets, usable }: Configured) {
  const counted = countTargets(reader);
  const names = new Set([...Object.keys(targets), ...counted.map(({ target }) => target)]);
  const standing = [...names].toSorted().map((target) => {
    const settings = targets[target];
    const configured = configuredOf(settings, usable.has(target));
    const channels = CHANNELS.map((channel) => {
      const { target: _, ...counts } =
        counted.find((one) => one.target === target && one.channel === channel) ??
        emptyCounts(target, channel);
      return { ...counts, health: healthOfTarget({ configured, ledger: counts.ledger }) };
    });
    const health = overallHealth(channels.map((one) => one.health));
    return { target, address: addressOf(settings), health, channels };
  });
  return { health: overallHealth(standing.map((one) => one.health)), targets: standing };
}

function configuredOf(
  settings: TargetSettings | undefined,
  usable: boolean,
): TargetStanding['configured'] {
  if (settings === undefined) return 'missing';
  return usable ? 'yes' : 'unusable';
}

function addressOf(settings: TargetSettings | undefined): string | null {
  return settings === undefined ? null : (settings.url ?? 'the receiver on this broker');
}
