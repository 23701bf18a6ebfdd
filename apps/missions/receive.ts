import { getObject, publishAt, putObject, readLast } from '#libs/broker';
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
import { bodyStored, bodySubject, hashOf, uuidOf } from '#libs/dossier';
import type { Projection } from '#libs/projections';
import type { Gate } from '#libs/missions';
import type { RoleContext } from '#libs/runtime';
import { MISSIONS } from '#streams';
import { currentHash, isAnnounced, lamportSeen } from './dossier-read.ts';

export type ReceiverOptions = Pick<RoleContext, 'broker' | 'config' | 'log'> & {
  projection: Projection;
  gate: Gate;
};

export type Received = { status: 'stored' | 'already_exists'; seq: number };

/** Tries to be the first of a content before others' events are taken for it. */
const RACES_MAX = 5;

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
 * Keeps the content and tells of it, each once however often it is sent.
 * @throws {NAMESPACE_NOT_FOUND} · {INDEX_ENTRY_NOT_FOUND} where events must come first
 * @throws {DEPENDENCY_UNAVAILABLE} not known to be kept; send it again
 */
export async function receive(options: ReceiverOptions, upload: BodyUpload): Promise<Received> {
  const { broker, config, projection } = options;
  if (config.dossierIndexRequired) await demandAnnounced(projection, upload);
  const subject = bodySubject(upload);
  const data = Buffer.from(upload.content_body, 'utf8');
  let last = await readLast(broker, MISSIONS.name, subject);
  // The bytes come first: what an event names can be read.
  if (last === undefined) await putObject(broker, data, { maxBytes: ARTIFACT_BODY_BYTES });
  const status = last === undefined ? 'stored' : 'already_exists';
  for (let race = 0; race < RACES_MAX; race += 1) {
    if (last !== undefined && (await isCurrent(options, upload, last.seq))) {
      return { status: race === 0 ? status : 'already_exists', seq: last.seq };
    }
    const after = last?.seq ?? 0;
    const seq = await publishAt(broker, subject, await encode(options, upload, after), after);
    if (seq !== undefined) {
      await shown(projection, seq);
      return { status, seq };
    }
    last = await readLast(broker, MISSIONS.name, subject);
  }
  const reason = 'others keep writing the same artifact';
  throw new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'The dossier', reason });
}

/** A content that came before is current again when it comes again after another. */
async function isCurrent(
  { projection }: ReceiverOptions,
  upload: BodyUpload,
  seq: number,
): Promise<boolean> {
  await projection.waitFor(seq, { timeoutMs: LIMITS.atLeastWaitMs });
  await projection.catchUp({ timeoutMs: LIMITS.atLeastWaitMs });
  return projection.read((reader) => currentHash(reader, upload)) === upload.content_hash;
}

async function encode(
  { config, gate, log, projection }: ReceiverOptions,
  upload: BodyUpload,
  after: number,
): Promise<Uint8Array> {
  const event = bodyStored(upload, {
    buildId: uuidOf(`garrison ${config.garrisonId}`),
    nodeId: config.garrisonId,
    lamport: projection.read(lamportSeen) + 1,
    at: log.defaults.now(),
    after,
  });
  gate.envelope('publish', event);
  return Buffer.from(JSON.stringify(event));
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
