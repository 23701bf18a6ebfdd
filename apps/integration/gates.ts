import {
  AppError,
  gateName,
  type GateProfile,
  type GateResult,
  type GateSpec,
} from '#libs/contracts';
import { aarSchema, artifactsExist, cleanTree } from './aar-gates.ts';
import type { CommandGates } from './command-gate.ts';
import { pathPolicy, sizePolicy } from './change-gates.ts';
import type { GovernanceGate } from './governance-gate.ts';
import type { Candidate, GateVerdict } from './verdict.ts';

export type Gates = {
  /** @throws {UNKNOWN_GATE_PROFILE} with `field` gate_profile */
  profile(name: string): GateProfile;
  /**
   * Runs all gates of a profile in order, whether or not one refuses, but no command once something
   * has: work that is refused is not worth the time. Only a broken machine throws.
   */
  run(profile: GateProfile, candidate: Candidate, signal?: AbortSignal): Promise<GateResult[]>;
};

export function createGates(
  profiles: ReadonlyMap<string, GateProfile>,
  commands: CommandGates,
  governance: GovernanceGate,
): Gates {
  const check = async (
    spec: GateSpec,
    candidate: Candidate,
    signal: AbortSignal | undefined,
  ): Promise<GateVerdict> => {
    switch (spec.gate) {
      case 'aar-schema':
        return aarSchema(candidate);
      case 'artifacts':
        return artifactsExist(candidate);
      case 'clean-tree':
        return cleanTree(candidate);
      case 'governance':
        return governance(candidate);
      case 'paths':
        return pathPolicy(spec, candidate);
      case 'sizes':
        return sizePolicy(spec, candidate);
      case 'command':
        return commands.run(spec, candidate, signal);
    }
  };
  return {
    profile: (name) => {
      const found = profiles.get(name);
      if (found !== undefined) return found;
      throw new AppError('UNKNOWN_GATE_PROFILE', { profile: name }, { field: 'gate_profile' });
    },
    run: async ({ gates }, candidate, signal) => {
      const results: GateResult[] = [];
      for (const spec of gates) {
        const refused = results.find(({ passed }) => !passed);
        const skip = spec.gate === 'command' && refused !== undefined;
        const verdict: GateVerdict = skip
          ? { passed: false, message: `not run, as ${refused.gate} refuses` }
          : await check(spec, candidate, signal);
        results.push({ gate: gateName(spec), ...verdict });
      }
      return results;
    },
  };
}
