import type { ChainHead } from './chain.ts';
import type { Artifact, Phase, ProjectDocument } from './document.ts';
import { idText } from './text.ts';

/**
 * A project as its events have made it. Plain JSON and never changed, so it is its own snapshot:
 * folding goes on from it as if from the start.
 */
export type ProjectState = {
  readonly document: ProjectDocument;
  readonly garrison_id: string;
  /** Stream sequence of the last event of the chain: the ETag. Agents do not move it. */
  readonly revision: number;
  readonly chain: ChainHead;
  /** Stream sequence of the last event of any kind. */
  readonly seq: number;
};

/** A phase by its id in either form, and where it stands. */
export function findPhase(
  { phases }: ProjectDocument,
  id: string | number,
): { phase: Phase; index: number } | undefined {
  const wanted = idText(id);
  const index = phases.findIndex((phase) => idText(phase.id) === wanted);
  const phase = phases[index];
  return phase === undefined || wanted === undefined ? undefined : { phase, index };
}

/** An artifact by its id, with its phase. */
export function findArtifact(
  { phases }: ProjectDocument,
  id: string,
): { phase: Phase; artifact: Artifact } | undefined {
  for (const phase of phases) {
    const artifact = phase.artifacts.find((one) => one.id === id);
    if (artifact !== undefined) return { phase, artifact };
  }
  return undefined;
}

/** The document with one phase replaced; all else is shared. */
export function withPhase(
  document: ProjectDocument,
  id: string,
  change: (phase: Phase) => Phase,
): ProjectDocument {
  const found = findPhase(document, id);
  if (found === undefined) return document;
  return { ...document, phases: document.phases.with(found.index, change(found.phase)) };
}

/** The document with one artifact replaced; all else is shared. */
export function withArtifact(
  document: ProjectDocument,
  place: { phase_id: string; artifact_id: string },
  change: (artifact: Artifact) => Artifact,
): ProjectDocument {
  return withPhase(document, place.phase_id, (phase) => {
    const index = phase.artifacts.findIndex(({ id }) => id === place.artifact_id);
    const artifact = phase.artifacts[index];
    if (artifact === undefined) return phase;
    return { ...phase, artifacts: phase.artifacts.with(index, change(artifact)) };
  });
}
