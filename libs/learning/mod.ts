export { countCells, type Counted, type Outcome } from './cells.ts';
export { diffPolicies, type PolicyChange } from './diff.ts';
export { LEARN_RULES, learn, type Learned, type LearnInput } from './learn.ts';
export {
  EMPTY_POLICY,
  evolvePolicy,
  latestVersion,
  type PolicyState,
  type PolicyVersion,
  versionOf,
} from './policy.ts';
export { pinnedTo, type Routed, routeOrder, type RouteInput } from './route.ts';
export { percentile, scoreOf } from './score.ts';
