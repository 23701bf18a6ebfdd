import { accept, isFilled, isObject, type Result, refuse } from './result.ts';

export type ReviewEvidence = { reviewer: string; verdict: string; reference: string };
/** What shows that work is good: a review, and optionally repositories and checks that were run. */
export type Evidence = { review: ReviewEvidence } & Record<string, unknown>;

export type ReviewResult = {
  reviewer: string;
  verdict: 'approved' | 'changes_requested';
  reference: string;
  feedback_path?: string;
};

/** Reads `--evidence-json` or `--review-result-json`: an object or USAGE_ERROR (exit 1). */
export function parseJsonFlag(
  flag: string,
  text: string | undefined,
): Result<Record<string, unknown> | undefined> {
  if (text === undefined) return accept(undefined);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refuse('USAGE_ERROR', { reason: `${flag} is not JSON: ${(error as Error).message}` });
  }
  if (isObject(value)) return accept(value);
  return refuse('USAGE_ERROR', { reason: `${flag} must be a JSON object` });
}

/** Why this is no evidence of an approval; undefined: it is. */
export function evidenceFault(evidence: Record<string, unknown> | undefined): string | undefined {
  const review = evidence?.review;
  if (!isObject(review)) return 'evidence with a review is needed';
  if (!isFilled(review.reviewer)) return 'evidence.review.reviewer is missing';
  if (!isFilled(review.reference)) return 'evidence.review.reference is missing';
  return review.verdict === 'approved' ? undefined : 'evidence.review.verdict must be approved';
}

/** Why this result does not let a work package out of review into `to`; undefined: it does. */
export function reviewResultFault(
  result: Record<string, unknown> | undefined,
  to: string,
  given: { reviewRef: string | undefined; evidence: Record<string, unknown> | undefined },
): string | undefined {
  if (result === undefined) return 'a review result is needed to leave in_review';
  const { reviewer, verdict, reference, feedback_path: path } = result;
  if (!isFilled(reviewer)) return 'review_result.reviewer is missing';
  if (!isFilled(reference)) return 'review_result.reference is missing';
  if (verdict !== 'approved' && verdict !== 'changes_requested') {
    return 'review_result.verdict must be approved or changes_requested';
  }
  if (path !== undefined && path !== null && !isFilled(path)) {
    return 'review_result.feedback_path must be a path';
  }
  if ((to === 'approved' || to === 'done') && verdict !== 'approved') {
    return `${to} needs the verdict approved`;
  }
  if (given.reviewRef !== undefined && given.reviewRef !== reference) {
    return 'review_ref and review_result.reference differ';
  }
  const review = given.evidence?.review;
  if (given.evidence?.review === undefined) return undefined;
  const same =
    isObject(review) &&
    review.reviewer === reviewer &&
    review.verdict === verdict &&
    review.reference === reference;
  return same ? undefined : 'evidence.review and the review result differ';
}
