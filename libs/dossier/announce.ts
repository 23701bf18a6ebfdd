import type { BodyUpload } from '#libs/contracts';
import { dossierEvent, type ToldBy } from './event.ts';

/** Told before the body of an artifact: it is there. */
export const ARTIFACT_INDEXED = 'MissionDossierArtifactIndexed';

/** The event (envelope 3.0.0) that gives an artifact its entry at a server that asks for one. */
export function artifactIndexed(upload: BodyUpload, by: ToldBy) {
  const { mission_slug, mission_type } = upload;
  const { artifact_path, content_hash, hash_algorithm, content_body } = upload;
  const folder = `kitty-specs/${mission_slug}/`;
  const path = artifact_path.startsWith(folder)
    ? artifact_path.slice(folder.length)
    : artifact_path;
  return dossierEvent(ARTIFACT_INDEXED, upload, by, {
    artifact_id: { mission_type, path, artifact_class: classOf(path) },
    // Bare digits, as events have them.
    content_ref: {
      hash: content_hash.slice(-64),
      algorithm: hash_algorithm,
      size_bytes: Buffer.byteLength(content_body),
    },
    indexed_at: by.at,
  });
}

/** What an artifact is for, in the words of the events. */
function classOf(path: string): 'input' | 'workflow' | 'output' | 'evidence' {
  const [top = ''] = path.split('/');
  if (top === 'spec.md') return 'input';
  if (['plan.md', 'tasks.md', 'tasks'].includes(top)) return 'workflow';
  return top === 'checklists' ? 'evidence' : 'output';
}
