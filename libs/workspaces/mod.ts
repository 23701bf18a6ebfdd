export { commitFiles, type CommitInput } from './commit.ts';
export {
  hasImplementationEvidence,
  locateWorkspace,
  startWorkspace,
  type Workspace,
} from './lane.ts';
export { merge, type Merged, type MergeInput, type MergeStrategy, preflight } from './merge.ts';
export { workflowEvidenceMissing } from './evidence.ts';
export { type Lane, type Plan, planOf, withoutWps, type WorkPackage } from './plan.ts';
export { startReview } from './review.ts';
export type { Repository, Stamp } from './values.ts';
