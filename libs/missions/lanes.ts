/** The lanes of a work package, in the order boards show them. Source: reference §1.4 (June/HEAD). */
export const LANES = [
  'planned',
  'claimed',
  'in_progress',
  'for_review',
  'in_review',
  'approved',
  'done',
  'blocked',
  'canceled',
] as const;

export type Lane = (typeof LANES)[number];

/** Where the first event of a work package may come from; never a target. */
export const GENESIS = 'genesis';

/** Where a transition goes from: a lane, or genesis. */
export type Origin = Lane | typeof GENESIS;

const ALIASES: Readonly<Record<string, Lane>> = { doing: 'in_progress' };

/** The lanes that a lane leads to without force. */
export const EDGES: Readonly<Record<Lane, readonly Lane[]>> = {
  planned: ['claimed', 'blocked', 'canceled'],
  claimed: ['in_progress', 'blocked', 'canceled'],
  in_progress: ['for_review', 'approved', 'planned', 'blocked', 'canceled'],
  for_review: ['in_review', 'blocked', 'canceled'],
  in_review: ['approved', 'done', 'in_progress', 'planned', 'blocked', 'canceled'],
  approved: ['done', 'in_progress', 'planned', 'blocked', 'canceled'],
  blocked: ['in_progress', 'canceled'],
  done: [],
  canceled: [],
};

export type Guard =
  | 'actor'
  | 'workspace'
  | 'finished'
  | 'evidence'
  | 'note'
  | 'review_ref'
  | 'review_result';

/** `from>to` edges and what they ask for; `*` stands for any lane. All that match hold. */
export const GUARDS: readonly (readonly [from: Lane | '*', to: Lane | '*', guard: Guard])[] = [
  ['*', 'claimed', 'actor'],
  ['*', 'in_review', 'actor'],
  ['claimed', 'in_progress', 'workspace'],
  ['in_progress', 'for_review', 'finished'],
  ['in_progress', 'approved', 'evidence'],
  ['approved', 'done', 'evidence'],
  ['in_progress', 'planned', 'note'],
  ['approved', 'in_progress', 'review_ref'],
  ['approved', 'planned', 'review_ref'],
  ['in_review', '*', 'review_result'],
];

/** Lanes to which only a run with a policy may move a work package. */
export const POLICY_LANES: ReadonlySet<Lane> = new Set([
  'claimed',
  'in_progress',
  'for_review',
  'in_review',
  'approved',
]);

/** The lane that text names, trimmed and in any case; undefined: none (genesis is none). */
export function parseLane(text: string): Lane | undefined {
  const name = text.trim().toLowerCase();
  return (
    LANES.find((lane) => lane === name) ??
    (Object.hasOwn(ALIASES, name) ? ALIASES[name] : undefined)
  );
}

/** The guards of an edge, in the order of the table. */
export function guardsOf(from: Lane, to: Lane): Guard[] {
  return GUARDS.filter(([a, b]) => (a === '*' || a === from) && (b === '*' || b === to)).map(
    ([, , guard]) => guard,
  );
}

/** A step back out of review, which beats a forward step of the same time. */
export function isRollback(from: Origin, to: Lane): boolean {
  const reviewed = from === 'for_review' || from === 'in_review' || from === 'approved';
  return reviewed && (to === 'in_progress' || to === 'planned');
}

/** A dependency in such a lane no longer holds back its dependents. */
export function satisfies(lane: Lane | undefined): boolean {
  return lane === 'approved' || lane === 'done';
}
