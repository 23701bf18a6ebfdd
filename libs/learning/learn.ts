import type { PolicyCell, PolicyDocument } from '#libs/contracts';
import type { Counted } from './cells.ts';

/** When evidence is enough. */
export const LEARN_RULES = {
  /** Orders of a profile that must have ended before it is compared. */
  ordersMin: 5,
  /** By how much the score of the best must be above that of the next. */
  margin: 0.05,
} as const;

export type LearnInput = Counted & {
  theaterId: string;
  /** The newest version there is; null: none yet. */
  previous: PolicyDocument | null;
  /** Share of orders, 0 to 1, that go to another profile. */
  exploration: number;
};

export type Learned = {
  /** The new version, or the previous one where nothing is new. */
  document: PolicyDocument | null;
  changed: boolean;
  /** In words, with the numbers. */
  reason: string;
};

type Routes = PolicyDocument['routes'];

const REASON_CHARS = 2_000;

/**
 * Makes the next version of a theater's policy out of counted outcomes. A window that ends no later
 * than the previous version's says nothing new.
 */
export function learn(input: LearnInput): Learned {
  const { cells, window, previous, theaterId, exploration } = input;
  if (window === null) {
    return { document: previous, changed: false, reason: 'no order has ended yet' };
  }
  if (previous !== null && window.to_seq <= previous.window.to_seq) {
    const reason = `nothing new since version ${previous.version}`;
    return { document: previous, changed: false, reason };
  }
  const routes: Routes = {};
  const reasons: string[] = [];
  for (const [type, ofType] of Map.groupBy(cells, ({ task_type }) => task_type)) {
    const judged = judge(type, ofType, previous?.routes[type]);
    reasons.push(judged.reason);
    if (judged.route !== undefined) routes[type] = judged.route;
  }
  const reason = reasons.join('; ').slice(0, REASON_CHARS);
  const document: PolicyDocument = {
    version: (previous?.version ?? 0) + 1,
    previous_version: previous?.version ?? null,
    theater_id: theaterId,
    window,
    cells,
    routes,
    exploration,
    reason,
  };
  return { document, changed: true, reason };
}

type Route = Routes[string];

/** Which profile a type of task goes to: the clearly best one, else where it went so far. */
function judge(
  type: string,
  cells: readonly PolicyCell[],
  before: Route | undefined,
): { route?: Route; reason: string } {
  const measured = cells
    .filter(({ orders }) => orders >= LEARN_RULES.ordersMin)
    .toSorted((a, b) => b.score - a.score || (a.profile < b.profile ? -1 : 1));
  const numbers = (measured.length > 0 ? measured : cells).slice(0, 5).map(told).join(', ');
  const [best, next] = measured;
  const stays = measured.find(({ profile }) => profile === before?.profile);
  const keep = (why: string) => {
    if (stays === undefined) return { reason: `${type}: ${numbers}; ${why}` };
    const reason = `${numbers}; ${why}, so ${stays.profile} stays`;
    return { route: { ...routeTo(stays), reason }, reason: `${type}: ${reason}` };
  };
  if (best === undefined || next === undefined) {
    const { ordersMin } = LEARN_RULES;
    return keep(`fewer than two profiles with ${ordersMin} orders`);
  }
  if (best.score - next.score < LEARN_RULES.margin) {
    return keep(`no clear difference (under ${LEARN_RULES.margin})`);
  }
  const reason = `${numbers}; ${best.profile} is preferred`;
  return { route: { ...routeTo(best), reason }, reason: `${type}: ${reason}` };
}

const routeTo = ({ profile, model }: PolicyCell) => ({ profile, model });

function told({ profile, completed, corrected, orders, score }: PolicyCell): string {
  const marked = corrected > 0 ? `, ${corrected} of them corrected` : '';
  return `${profile} completed ${completed} of ${orders}${marked} (score ${score})`;
}
