import { createHash } from 'node:crypto';
import type { BodyUpload } from '#libs/contracts';

/** An upload of a path with this text; the same for the same arguments. */
export function body(path: string, text = `text of ${path}`): BodyUpload {
  return {
    project_uuid: '0b0f4b0e-7a57-4f5e-9b1a-3d3c52a1d001',
    mission_slug: '064-my-mission',
    target_branch: 'main',
    mission_type: 'software-dev',
    manifest_version: '1',
    artifact_path: `kitty-specs/064-my-mission/${path}`,
    content_hash: `sha256:${createHash('sha256').update(text).digest('hex')}`,
    hash_algorithm: 'sha256',
    content_body: text,
  };
}
