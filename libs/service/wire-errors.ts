import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { AppError, errorBody } from '#libs/contracts';

/** Answers what never became a request (bad HTTP, too large headers, too slow) and hangs up. */
export function answerBrokenRequest(
  error: Error & { code?: string },
  socket: Duplex,
  limits: { headerBytes: number; requestMs: number },
): void {
  if (error.code === 'ECONNRESET' || !socket.writable || isStreaming(socket)) {
    socket.destroy();
    return;
  }
  const known = wireError(error.code, limits);
  const body = JSON.stringify(errorBody(known));
  const lines = [
    `HTTP/1.1 ${known.status} ${STATUS_CODES[known.status] ?? 'Error'}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

const streaming = new WeakSet<Duplex>();

/** Marks a connection whose answer is under way, so that nothing else is written into it. */
export function markStreaming(socket: Duplex): void {
  streaming.add(socket);
}

function isStreaming(socket: Duplex): boolean {
  return streaming.has(socket);
}

function wireError(
  code: string | undefined,
  limits: { headerBytes: number; requestMs: number },
): AppError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new AppError('PAYLOAD_TOO_LARGE', {
        what: 'header in bytes',
        limit: limits.headerBytes,
      });
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new AppError('PAYLOAD_TOO_LARGE', { what: 'chunk extension', limit: 16_384 });
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new AppError('TIMEOUT', { what: 'Sending the request', limit_ms: limits.requestMs });
    default:
      return new AppError('INVALID_REQUEST', { reason: 'This is not a well-formed HTTP request' });
  }
}
