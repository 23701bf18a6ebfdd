import type { ModelRequest } from '../port.ts';
import { readDocuments } from './text.ts';

type PlanStep = { key: string; type: string; objective: string; depends_on: string[] };

const QUESTION = /\?\s*$|^(?:who|what|when|where|why|which|how|is|are|does|do|did|can|should)\b/i;
const TO_CHECK = /\b(?:verify|check|accurate|fact|prove|evidence|source)/i;
const ANGLES = /\b(?:compare|analy[sz]e|assess|review|report|audit|overview)/i;

/** Angles of a large question, each looked into by an order of its own. */
const VIEWS = [
  ['decisions', 'decisions made, and commitments with who made them'],
  ['risks', 'risks, blockers and open questions'],
  ['numbers', 'numbers, amounts and dates'],
] as const;

/**
 * A plan as JSON, by simple rules: a transcript is summarised; what asks for several views is looked
 * into from three angles at once and then drawn together; a question is researched, answered and
 * verified; anything else, and whatever was refused before, is one draft.
 */
export function plan(request: Pick<ModelRequest, 'files' | 'objective'>): string {
  return `${JSON.stringify({ steps: stepsFor(request) }, null, 2)}\n`;
}

function stepsFor({ files, objective }: Pick<ModelRequest, 'files' | 'objective'>): PlanStep[] {
  const step = (key: string, type: string, text: string, ...depends_on: string[]): PlanStep => ({
    key,
    type,
    objective: text,
    depends_on,
  });
  if (files.some(({ path }) => path.endsWith('/plan-refused.md'))) {
    return [step('draft', 'draft', objective)];
  }
  if (readDocuments(files).some(({ isTranscript }) => isTranscript)) {
    return [step('summary', 'call_summary', objective)];
  }
  if (ANGLES.test(objective)) {
    const keys = VIEWS.map(([key]) => key);
    return [
      ...VIEWS.map(([key, view]) => step(key, 'research', `${objective}: ${view}`)),
      step('synthesis', 'draft', objective, ...keys),
    ];
  }
  if (QUESTION.test(objective.trim()) || TO_CHECK.test(objective)) {
    return [
      step('research', 'research', objective),
      step('draft', 'draft', objective, 'research'),
      step('verify', 'verify', objective, 'draft'),
    ];
  }
  return [step('draft', 'draft', objective)];
}
