import type { Evidence, Violation } from './evidence.ts';
import { checkDeliveries, checkMilestones } from './feeds.ts';
import { foldHistory, type History } from './history.ts';
import { checkAcked, checkChats, checkIds } from './ledger.ts';
import { checkMainline, checkWorktrees } from './repository.ts';
import { checkProcesses, checkViews } from './running.ts';
import { checkAnomalies, checkEnded, checkOnce, checkQueues } from './work.ts';

export type {
  Dead,
  Evidence,
  FeedItem,
  OutboxRecord,
  Served,
  ViewFacts,
  Violation,
} from './evidence.ts';
export { missingMilestones } from './feeds.ts';
export { foldHistory, type History } from './history.ts';
export { artifactNames } from './repository.ts';

/** Everything that is wrong. Looks at the evidence alone, and changes nothing. */
export function check(evidence: Evidence, history: History = foldHistory(evidence.events)) {
  const violations: Violation[] = [
    ...checkAcked(evidence),
    ...checkIds(evidence),
    ...checkViews(evidence, history),
    ...checkEnded(evidence, history),
    ...checkOnce(evidence, history),
    ...checkMainline(evidence, history),
    ...checkWorktrees(evidence, history),
    ...checkProcesses(evidence),
    ...checkQueues(evidence),
    ...checkChats(evidence, history),
    ...checkDeliveries(evidence),
    ...checkMilestones(evidence),
    ...checkAnomalies(history),
  ];
  return violations;
}
