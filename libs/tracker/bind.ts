import { AppError, invalid } from '#libs/contracts';
import { isRefusal, type Json, textOf } from './answers.ts';
import type { TrackerClient } from './client.ts';
import type { ProjectIdentity } from './identity.ts';

/** A resource of the tracker that the project may be bound to. */
export type Candidate = {
  candidate_token: string;
  label: string;
  confidence: string;
  reason: string;
};

export type Bound = {
  binding_ref: string;
  label: string;
  /** True: it was bound before. */
  existed: boolean;
};

/**
 * Binds a project to a resource of the tracker: asks what matches, chooses, confirms. A choice that
 * has become stale in between is made again once.
 * @param select number (from 1) of the candidate, where there are several
 * @throws {TRACKER_CHOICE} nothing matches, or several do and none is chosen; `details.candidates`
 * @throws what `TrackerClient` throws
 */
export async function bindProject(
  client: TrackerClient,
  provider: string,
  identity: ProjectIdentity,
  select?: number,
): Promise<Bound> {
  for (let attempt = 1; ; attempt += 1) {
    const match = await client.bindResolve(provider, identity);
    const existing = match.binding_ref;
    if (match.match_type === 'exact' && typeof existing === 'string' && existing !== '') {
      return { binding_ref: existing, label: labelOf(match, existing), existed: true };
    }
    const { candidate_token, label } = choose(match, select);
    try {
      const bound = await client.bindConfirm(provider, candidate_token, identity);
      const ref = textOf(bound, 'binding_ref');
      return { binding_ref: ref, label: labelOf(bound, label), existed: false };
    } catch (error) {
      if (attempt > 1 || !isRefusal(error, 'invalid_candidate_token')) throw error;
    }
  }
}

/** The candidate to confirm. @throws {TRACKER_CHOICE} */
export function choose(match: Json, select: number | undefined): Candidate {
  if (match.match_type === 'exact') {
    const token = textOf(match, 'candidate_token');
    return { candidate_token: token, label: labelOf(match, ''), confidence: 'exact', reason: '' };
  }
  const candidates = match.match_type === 'candidates' ? candidatesOf(match) : [];
  const [first] = candidates;
  if (first === undefined) {
    throw new AppError(
      'TRACKER_CHOICE',
      { reason: 'nothing there matches this project' },
      { details: { candidates: [] } },
    );
  }
  const shown = candidates.map(({ label, confidence, reason }, index) => ({
    select: index + 1,
    label,
    confidence,
    reason,
  }));
  const details = { details: { candidates: shown } };
  if (select === undefined) {
    if (candidates.length === 1) return first;
    const reason = `${candidates.length} of them match this project`;
    throw new AppError('TRACKER_CHOICE', { reason }, details);
  }
  const chosen = candidates[select - 1];
  if (chosen !== undefined) return chosen;
  const reason = `there is no number ${select}; there are 1 to ${candidates.length}`;
  throw new AppError('TRACKER_CHOICE', { reason }, { ...details, field: 'select' });
}

/** In the order in which the tracker ranks them. @throws {INVALID_REQUEST} an answer of no sense */
function candidatesOf(match: Json): Candidate[] {
  const { candidates } = match;
  if (!Array.isArray(candidates)) throw invalid('candidates', 'the tracker sent no list');
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  return (candidates as Json[])
    .map((one, index) => ({
      rank: typeof one.sort_position === 'number' ? one.sort_position : index,
      candidate: {
        candidate_token: textOf(one, 'candidate_token'),
        label: text(one.display_label),
        confidence: text(one.confidence),
        reason: text(one.match_reason),
      },
    }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ candidate }) => candidate);
}

function labelOf(body: Json, otherwise: string): string {
  return typeof body.display_label === 'string' ? body.display_label : otherwise;
}
