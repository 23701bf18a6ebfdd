import { type Author, draftOn, nothing, type ProjectDecision, refuse } from './decision.ts';
import { canonicalJson } from './canonical.ts';
import { placeOf } from './decide-artifact.ts';
import type { Artifact, Phase } from './document.ts';
import { findArtifact, findPhase, type ProjectState } from './state.ts';
import { idText } from './text.ts';

/**
 * Brings names, texts, values, waivers and open gates back to what they were in `past`, a state of
 * the same project. Undoing is doing something new: each step back is an event, so history and audit
 * log grow. Comments stay; a decision is never made again by itself.
 */
export function revertTo(state: ProjectState, past: ProjectState, author: Author): ProjectDecision {
  const { document } = state;
  const { document: then } = past;
  if (then.id !== document.id || past.revision > state.revision) {
    return refuse('ILLEGAL_TRANSITION', {
      what: 'Reverting',
      status: 'the state to go back to is none of its past',
    });
  }
  const draft = draftOn(state, author);
  const { name, description } = then;
  let events = 0;
  if (name !== document.name || description !== document.description) {
    draft.link('PROJECT_UPDATED', { name, description });
    events += 1;
  }
  for (const phase of document.phases) {
    events += revertGate(draft, phase, findPhase(then, phase.id)?.phase);
    for (const artifact of phase.artifacts) {
      const before = findArtifact(then, artifact.id)?.artifact;
      if (before !== undefined) events += revertArtifact(draft, phase, artifact, before);
    }
  }
  return events === 0 ? nothing(state) : draft.done();
}

type Draft = ReturnType<typeof draftOn>;

function revertGate(draft: Draft, phase: Phase, before: Phase | undefined): number {
  const { status: was } = phase.goNoGoDecision;
  if (was === 'pending' || before?.goNoGoDecision.status !== 'pending') return 0;
  draft.link('GATE_REOPENED', { phase_id: idText(phase.id) ?? '', was, reason: 'reverted' });
  return 1;
}

function revertArtifact(draft: Draft, phase: Phase, now: Artifact, before: Artifact): number {
  const place = placeOf({ phase, artifact: now });
  let events = 0;
  const change = contentChange(now, before);
  if (Object.keys(change).length > 0) {
    draft.link('ARTIFACT_UPDATED', { ...place, ...change });
    events += 1;
  }
  const [waived, wasWaived] = [now.waiver?.waived === true, before.waiver?.waived === true];
  const rationale = before.waiver?.rationale ?? '';
  if (waived && !wasWaived) {
    draft.link('WAIVER_REMOVED', { ...place, rationale: '' });
    events += 1;
  } else if (wasWaived && (!waived || now.waiver?.rationale !== rationale)) {
    draft.link('WAIVER_APPLIED', { ...place, rationale });
    events += 1;
  }
  return events;
}

function contentChange(now: Artifact, before: Artifact): Record<string, unknown> {
  const change: Record<string, unknown> = {};
  for (const key of ['name', 'rationale', 'notes', 'assigned_to'] as const) {
    if (now[key] !== before[key]) change[key] = before[key];
  }
  const { field_values: values } = before;
  const set = Object.entries(values).filter(
    ([key, value]) =>
      !Object.hasOwn(now.field_values, key) ||
      canonicalJson(now.field_values[key]) !== canonicalJson(value),
  );
  const cleared = Object.keys(now.field_values).filter((key) => !Object.hasOwn(values, key));
  if (set.length > 0) change.field_values = Object.fromEntries(set);
  if (cleared.length > 0) change.cleared = cleared;
  return change;
}
