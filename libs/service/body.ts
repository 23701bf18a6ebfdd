import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { AppError } from '#libs/contracts';

const NOTHING = new Uint8Array();

/** The client went away before its body had arrived; there is nobody left to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

/**
 * Reads a JSON body, counting its bytes as they come. No body: undefined.
 * @throws {UNSUPPORTED_MEDIA_TYPE} not JSON by its type, or encoded · {PAYLOAD_TOO_LARGE} ·
 *   {INVALID_JSON} · ClientGone
 */
export async function readJson(incoming: IncomingMessage, maxBytes: number): Promise<unknown> {
  const bytes = await readBody(incoming, maxBytes);
  if (bytes.length === 0) return undefined;
  checkType(incoming.headers['content-type'], incoming.headers['content-encoding']);
  return parseJson(bytes);
}

/** The bytes of a body, whatever they are. @throws {PAYLOAD_TOO_LARGE} · ClientGone */
export async function readBody(incoming: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const { headers } = incoming;
  const length = headers['content-length'];
  if (length === undefined && headers['transfer-encoding'] === undefined) return NOTHING;
  if (length === '0') return NOTHING;
  // Before anything is read, so that a body that is refused costs nothing.
  if (length !== undefined && Number(length) > maxBytes) throw tooLarge(maxBytes);
  return readBytes(incoming, maxBytes);
}

/** @throws {INVALID_JSON} */
export function parseJson(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) throw new AppError('INVALID_JSON', { reason: 'it is not UTF-8' });
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new AppError('INVALID_JSON', { reason }, { cause: error });
  }
}

// A form or plain text body can be sent by any web page without asking; JSON cannot.
function checkType(type: string | undefined, encoding: string | undefined): void {
  // What nearly every client sends, without taking it apart.
  if (type === 'application/json' && encoding === undefined) return;
  const [media = '', ...params] = (type ?? '').toLowerCase().split(';');
  const charset = params.map((param) => param.trim()).find((param) => param.startsWith('charset='));
  const utf8 = charset === undefined || /^charset="?utf-?8"?$/.test(charset);
  if (!/^application\/(json|[a-z0-9.+-]+\+json)$/.test(media.trim()) || !utf8) {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', { type: type ?? '(none)' });
  }
  if (encoding !== undefined && encoding !== 'identity') {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', { type: `with content encoding ${encoding}` });
  }
}

function readBytes(incoming: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (finish: () => void): void => {
      incoming.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      finish();
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else settle(() => reject(tooLarge(maxBytes)));
    };
    const onEnd = (): void => {
      const [first] = chunks;
      settle(() => resolve(chunks.length === 1 && first ? first : Buffer.concat(chunks)));
    };
    const onGone = (cause?: Error): void => {
      settle(() => reject(new ClientGone('the client closed the connection', { cause })));
    };
    if (incoming.destroyed) return onGone();
    incoming.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

function tooLarge(limit: number): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', { what: 'body in bytes', limit }, { field: 'body' });
}
