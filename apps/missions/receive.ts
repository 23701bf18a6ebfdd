import { getObject, putObject } from '#libs/broker';
import {
  AppError,
  ARTIFACT_BODY_BYTES,
  type BodyUpload,
  bodyUpload,
  checkJson,
  invalid,
  isAppError,
  LIMITS,
  parse,
} from '#libs/contracts';
import { bodyStored, hashOf } from '#libs/dossier';
import type { MissionLog } from '#libs/missionlog';
import { artifactKey, type Gate } from '#libs/missions';
import type { Projection } from '#libs/projections';
import type { RoleContext } from '#libs/runtime';
import { isAnnounced, isContent } from './dossier-read.ts';

export type ReceiverOptions = Pick<RoleContext, 'broker' | 'config'> & {
  projection: Projection;
  log: MissionLog;
};

export type Received = { status: 'stored' | 'already_exists'; seq: number };

/**
 * Checks what was sent.
 * @throws {INVALID_REQUEST} a field is missing, forbidden or wrong; the hash is not that of the body
 * @throws {PAYLOAD_TOO_LARGE} more than 512 KiB of content
 */
export function checkUpload(input: unknown, gate: Gate): BodyUpload {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalid('body', 'must be a JSON object');
  }
  checkJson(input, 'body');
  gate.body('http in', input);
  const upload = parse(bodyUpload, input) as BodyUpload;
  const bytes = Buffer.from(upload.content_body, 'utf8');
  if (bytes.length > ARTIFACT_BODY_BYTES) {
    const limit = ARTIFACT_BODY_BYTES;
    throw new AppError('PAYLOAD_TOO_LARGE', { what: 'content', limit }, { field: 'content_body' });
  }
  const actual = hashOf(bytes);
  if (actual !== upload.content_hash) {
    throw invalid('content_hash', `is not that of content_body, which is ${actual}`);
  }
  return upload;
}

/**
 * Keeps the content and tells of it in the mission, each once however often it is sent. A content
 * that came before is current again when it comes again after another.
 * @throws {NAMESPACE_NOT_FOUND} · {INDEX_ENTRY_NOT_FOUND} where events must come first
 * @throws {DEPENDENCY_UNAVAILABLE} not known to be kept; send it again
 */
export async function receive(options: ReceiverOptions, upload: BodyUpload): Promise<Received> {
  const { broker, config, projection, log } = options;
  if (config.dossierIndexRequired) await demandAnnounced(projection, upload);
  const { artifact_path, content_hash } = upload;
  const key = artifactKey(upload, artifact_path);
  // The bytes come first: what an event names can be read.
  const known = projection.read((reader) => isContent(reader, content_hash));
  if (!known) {
    const data = Buffer.from(upload.content_body, 'utf8');
    await putObject(broker, data, { maxBytes: ARTIFACT_BODY_BYTES });
  }
  let isNew = true;
  const { events, seq } = await log.tell(upload, (state, { lamport, timestamp: at, version }) => {
    if (state.contents.get(key)?.value === content_hash) return [];
    isNew = !state.received.has(`${key} ${content_hash}`);
    const by = { buildId: log.emitter.buildId, nodeId: log.emitter.nodeId };
    return [bodyStored(upload, { ...by, lamport, at, after: version })];
  });
  await shown(projection, seq);
  return { status: events.length > 0 && isNew ? 'stored' : 'already_exists', seq };
}

/** Whoever stores and then reads here finds it; a view that is late does not unmake the storing. */
async function shown(projection: Projection, seq: number): Promise<void> {
  try {
    await projection.waitFor(seq, { timeoutMs: LIMITS.atLeastWaitMs });
  } catch (error) {
    if (!isAppError(error, 'VIEW_BEHIND')) throw error;
  }
}

async function demandAnnounced(projection: Projection, upload: BodyUpload): Promise<void> {
  const { artifact_path: path, mission_slug: mission, project_uuid: project } = upload;
  const look = () => projection.read((reader) => isAnnounced(reader, upload, path));
  let known = look();
  if (!known.artifact) {
    await projection.catchUp({ timeoutMs: LIMITS.atLeastWaitMs });
    known = look();
  }
  if (!known.mission) throw new AppError('NAMESPACE_NOT_FOUND', { mission, project });
  if (!known.artifact) throw new AppError('INDEX_ENTRY_NOT_FOUND', { mission, path });
}

/** The text of a content by its digest; undefined: nobody brought it here. */
export async function readContent(
  { broker }: Pick<RoleContext, 'broker'>,
  contentHash: string,
): Promise<{ size_bytes: number; content_body: string } | undefined> {
  const sha256 = contentHash.slice(-64);
  const data = await getObject(broker, sha256, { maxBytes: ARTIFACT_BODY_BYTES });
  if (data === null) return undefined;
  return { size_bytes: data.length, content_body: Buffer.from(data).toString('utf8') };
}
