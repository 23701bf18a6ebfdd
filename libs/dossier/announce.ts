import type { BodyUpload } from '#libs/contracts';

/** Told before the body of an artifact: it is there. */
export const ARTIFACT_INDEXED = 'MissionDossierArtifactIndexed';

/** Who tells, and when. */
export type AnnouncedBy = {
  eventId: string;
  buildId: string;
  nodeId: string;
  lamport: number;
  /** ISO 8601. */
  at: string;
  /** Of the mission, as 064. */
  number: string;
};

/** The event (envelope 3.0.0) that gives an artifact its entry at a server that asks for one. */
export function artifactIndexed(upload: BodyUpload, by: AnnouncedBy) {
  const { project_uuid, mission_slug, target_branch, mission_type, manifest_version } = upload;
  const { artifact_path, content_hash, hash_algorithm, content_body } = upload;
  const folder = `kitty-specs/${mission_slug}/`;
  const path = artifact_path.startsWith(folder)
    ? artifact_path.slice(folder.length)
    : artifact_path;
  return {
    event_id: by.eventId,
    event_type: ARTIFACT_INDEXED,
    aggregate_id: mission_slug,
    aggregate_type: 'MissionDossier',
    schema_version: '3.0.0',
    build_id: by.buildId,
    node_id: by.nodeId,
    lamport_clock: by.lamport,
    timestamp: by.at,
    causation_id: null,
    correlation_id: by.eventId,
    project_uuid,
    payload: {
      mission_slug,
      mission_number: by.number,
      mission_type,
      namespace: { project_uuid, mission_slug, target_branch, mission_type, manifest_version },
      artifact_id: { mission_type, path, artifact_class: classOf(path) },
      // Bare digits, as events have them.
      content_ref: {
        hash: content_hash.slice(-64),
        algorithm: hash_algorithm,
        size_bytes: Buffer.byteLength(content_body),
      },
      indexed_at: by.at,
    },
  };
}

/** What an artifact is for, in the words of the events. */
function classOf(path: string): 'input' | 'workflow' | 'output' | 'evidence' {
  const [top = ''] = path.split('/');
  if (top === 'spec.md') return 'input';
  if (['plan.md', 'tasks.md', 'tasks'].includes(top)) return 'workflow';
  return top === 'checklists' ? 'evidence' : 'output';
}
