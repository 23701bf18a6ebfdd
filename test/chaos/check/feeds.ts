import { isDeepStrictEqual } from 'node:util';
import type { StoredEvent } from '#libs/contracts';
import type { Evidence, FeedItem, Violation } from './evidence.ts';

/** What was delivered with a right signature is in the feed once, as sent; what was not, is not. */
export function checkDeliveries({ oracle, feed, feedLastSeq, dead }: Evidence): Violation[] {
  const found: Violation[] = [];
  const tell = (message: string): void => void found.push({ invariant: 'deliveries', message });
  const byKey = Map.groupBy(feed, ({ key }) => key);
  for (const [key, { forged, way, answers, envelope }] of oracle.deliveries) {
    const items = byKey.get(key) ?? [];
    if (answers.length === 0) tell(`${key} was sent and never answered`);
    const wanted = forged ? FORGED_ANSWERS : RIGHT_ANSWERS;
    for (const answer of answers) {
      if (!wanted.includes(answer)) tell(`${key} was answered ${answer}`);
    }
    if (answers.filter((answer) => answer === '200 accepted').length > 1) {
      tell(`${key} was accepted as new more than once`);
    }
    if (forged) {
      if (items.length > 0) tell(`${key} has a wrong signature and is in the feed`);
      const letters = dead.filter(({ payload }) => payload.includes(`"${key}"`));
      if (way === 'queue' && answers.length > 0 && letters.length === 0) {
        tell(`${key} was queued, is forged, and is not among the dead letters`);
      }
    } else if (items.length !== 1 && answers.length > 0) {
      tell(`${key} was taken and is in the feed ${items.length} times`);
    }
    for (const { item } of items) {
      if (!isDeepStrictEqual(item, envelope.event)) tell(`${key} is another than was sent`);
    }
  }
  for (const [key, items] of byKey) {
    if (items.length > 1) tell(`the key ${key} is in the feed ${items.length} times`);
  }
  if (feed.length !== feedLastSeq) {
    tell(`the feed holds ${feed.length} items up to sequence ${feedLastSeq}`);
  }
  return found;
}

const RIGHT_ANSWERS = ['200 accepted', '200 duplicate', 'queued'];
const FORGED_ANSWERS = ['401 rejected', 'queued'];

/** Events of the ledger that IronClaw tells by itself, and the milestone that each becomes. */
export function expectedMilestones(events: readonly StoredEvent[]): Map<string, StoredEvent> {
  const told = events.filter((event) => milestoneIdOf(event) !== undefined);
  return new Map(told.map((event) => [refOf(event), event]));
}

/** The refs of `expectedMilestones` that are not in the feed yet. */
export function missingMilestones(
  events: readonly StoredEvent[],
  feed: readonly FeedItem[],
): string[] {
  const there = new Set(feed.map(ledgerRefOf));
  return [...expectedMilestones(events).keys()].filter((ref) => !there.has(ref));
}

/**
 * Every event that is to be told is in the feed once, and nothing else is there in IronClaw's name;
 * what the outbox delivered is there, and nothing waits or was given up.
 */
export function checkMilestones({ events, quietSeq, feed, outbox }: Evidence): Violation[] {
  const found: Violation[] = [];
  const tell = (message: string, event?: StoredEvent): void => {
    const { run_id = null, order_id = null } = event ?? {};
    found.push({ invariant: 'milestones', message, run_id, order_id });
  };
  const own = feed.filter(
    ({ channel, item }) => channel === 'milestones' && item.source === 'orchestrator',
  );
  const byRef = Map.groupBy(own, ledgerRefOf);
  const expected = expectedMilestones(events);
  for (const [ref, event] of expected) {
    const items = byRef.get(ref) ?? [];
    const enough = event.seq <= quietSeq ? items.length === 1 : items.length <= 1;
    if (!enough) tell(`${event.type} at ${ref} was told ${items.length} times`, event);
    const id = milestoneIdOf(event);
    for (const { item } of items) {
      if (item.milestoneId !== id) tell(`${ref} was told under another id than ${id}`, event);
    }
  }
  for (const [ref, items] of byRef) {
    if (!expected.has(ref)) tell(`${items[0]?.key} tells of ${ref}, which is nothing to tell`);
  }
  const keys = new Set(feed.map(({ key }) => key));
  const late = new Set(events.filter(({ seq }) => seq > quietSeq).map(milestoneIdOf));
  for (const { id, channel, key, itemId, state } of outbox) {
    const settled = state === 'delivered' || state === 'duplicate';
    if (settled && !keys.has(key)) tell(`delivery ${id} is ${state} and not in the feed`);
    // Demand is looked at until the very end, so that a last summary may be on its way.
    const isOpen = state === 'pending' || state === 'retrying';
    const mayBeOpen = channel === 'demand' || late.has(itemId);
    if (!settled && !(isOpen && mayBeOpen)) tell(`delivery ${id} of ${itemId} is ${state}`);
  }
  return found;
}

/** The place in the ledger of what a milestone tells; empty: it tells of none. */
function ledgerRefOf({ item }: FeedItem): string {
  const [first] = (item.evidence ?? []) as { ref?: string }[];
  return first?.ref ?? '';
}

const refOf = ({ seq }: StoredEvent): string => `LEDGER:${seq}`;

function milestoneIdOf(event: StoredEvent): string | undefined {
  const { type, run_id, order_id, event_id } = event;
  switch (event.type) {
    case 'RUN_CREATED':
      return `run.started.${run_id}`;
    case 'RUN_COMPLETED':
    case 'RUN_FAILED':
    case 'RUN_CANCELLED':
      return `run.${type.slice('RUN_'.length).toLowerCase()}.${run_id}`;
    case 'INTEGRATED':
      return `integration.passed.${order_id}.${event.payload.attempt}`;
    case 'INTEGRATION_FAILED':
      return `integration.failed.${order_id}.${event.payload.attempt}.${event_id}`;
    case 'ESCALATION_RAISED':
      return `escalation.raised.${event.payload.escalation_id}`;
    case 'ESCALATION_ACKED':
      return `escalation.acked.${event.payload.escalation_id}`;
    case 'DECISION_GIVEN':
      return `escalation.decided.${event.payload.escalation_id}`;
    default:
      return undefined;
  }
}
