import type { BodyUpload } from '#libs/contracts';

/** Who tells of an artifact, and when. */
export type ToldBy = {
  eventId: string;
  buildId: string;
  nodeId: string;
  lamport: number;
  /** ISO 8601. */
  at: string;
  /** Of the mission, as 064. */
  number: string;
};

/** An event of a mission's dossier in envelope 3.0.0: what all have, and what this one tells. */
export function dossierEvent<T extends string, P extends object>(
  type: T,
  upload: BodyUpload,
  by: ToldBy,
  more: P,
) {
  const { project_uuid, mission_slug, target_branch, mission_type, manifest_version } = upload;
  return {
    event_id: by.eventId,
    event_type: type,
    aggregate_id: mission_slug,
    aggregate_type: 'MissionDossier' as const,
    schema_version: '3.0.0' as const,
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
      ...more,
    },
  };
}
