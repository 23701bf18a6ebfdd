import { z } from 'zod';
import { relativePath } from './ids.ts';
import { LIMITS } from './limits.ts';

/** Largest artifact that is uploaded, in bytes of its file. */
export const ARTIFACT_BODY_BYTES = 512 * 1024;

const name = z
  .string()
  .max(256)
  .refine((text) => text.trim() !== '' && !text.includes('\0'), 'must not be blank');

/**
 * The name of a mission, the same in every event and request that names one: it is that of a folder
 * in kitty-specs/. Missions of others may have names that are no ids of ours, as `064.my mission`.
 */
export const missionSlug = z
  .string()
  .max(LIMITS.missionSlugChars)
  .refine((text) => text.trim() !== '', 'must not be blank')
  .refine((text) => !/[/\\\0]/.test(text) && !text.includes('..'), 'must be the name of a folder');

/** Where an artifact belongs (seed, body-sync.md): NamespaceRef. */
export const namespaceRef = z.looseObject({
  project_uuid: z
    .guid('must be a UUID')
    .transform((uuid) => uuid.toLowerCase())
    .describe('project identity'),
  mission_slug: missionSlug,
  target_branch: name,
  mission_type: name,
  manifest_version: name,
});

/** The five fields of a namespace, without any others. */
export type NamespaceRef = {
  project_uuid: string;
  mission_slug: string;
  target_branch: string;
  mission_type: string;
  manifest_version: string;
};

/** `sha256:` and 64 hex digits; the bare digits of older senders are read as the same. */
export const contentHash = z
  .string()
  .regex(/^(sha256:)?[0-9a-fA-F]{64}$/, 'must be sha256: and 64 hex digits')
  .transform((hash) => `sha256:${hash.slice(-64).toLowerCase()}`);

/** The body of POST /api/dossier/push-content/ (seed, body-sync.md): nine fields. */
export const bodyUpload = z.looseObject({
  ...namespaceRef.shape,
  artifact_path: relativePath.refine((path) => path.trim() !== '', 'must not be blank'),
  content_hash: contentHash,
  hash_algorithm: z.literal('sha256'),
  /** The file as UTF-8 text, a byte order mark included. */
  content_body: z.string(),
});

export type BodyUpload = NamespaceRef & {
  /** Relative to the repository, as kitty-specs/064-my-mission/spec.md. */
  artifact_path: string;
  /** `sha256:` and 64 lower-case hex digits, of the UTF-8 bytes of `content_body`. */
  content_hash: string;
  hash_algorithm: 'sha256';
  content_body: string;
};
