export { type Commanded, command } from './command.ts';
export {
  CONFIG,
  type Config,
  configFromEnv,
  type ProjectPolicy,
  stateLayout,
  type WatchLimits,
} from './config.ts';
export { loadEngine } from './plans.ts';
export { healthHandler, type RoleContext, type RunningRole, type StartRole } from './role.ts';
export { publishJob } from './jobs.ts';
export { armPeriodic, nextBoundary, PATROL_TIMER } from './periodic.ts';
export { theaterFor } from './mission-theater.ts';
export { createTheaterDirectory, type TheaterDirectory } from './theaters.ts';
export { createOrderCommands, type OrderCommands, type OrderPlace } from './orders.ts';
export { createGovernance, type GovernanceOf, type GovernedPlace } from './governance.ts';
export { followFacts, followLedger } from './follow.ts';
export { claimSlot, type Slot } from './slot.ts';
export { createPauses, type PausePlace, type Pauses } from './pauses.ts';
export {
  type Behaviour,
  checkRunSettings,
  checkSettingsFile,
  type ExplainedSetting,
  openSettings,
  type RunOverrides,
  type SettingPlace,
  type Settings,
} from './settings.ts';
export { createPolicies, type Policies } from './policies.ts';
