import { readSync, writeSync } from 'node:fs';
import type { FromUnit, ToUnit } from '../protocol.ts';

const CHUNK_BYTES = 64 * 1024;
const LINE_BYTES_MAX = 64 * 1024 * 1024;

/**
 * The unit's line to the worker: JSON, one message a line, answers in turn. Reading blocks, and so
 * does the whole unit: it has nothing else to do. The end of the line ends the process.
 */
export function createWire(exit: () => never) {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let kept: Buffer[] = [];
  let bytes = 0;

  const receive = (): ToUnit => {
    for (;;) {
      const read = readSync(0, chunk, 0, chunk.length, null);
      if (read === 0) exit();
      const part = chunk.subarray(0, read);
      const end = part.indexOf(10);
      kept.push(Buffer.from(end === -1 ? part : part.subarray(0, end)));
      bytes += read;
      if (bytes > LINE_BYTES_MAX) exit();
      if (end === -1) continue;
      // The worker speaks only when it is asked, so nothing follows this message.
      const text = Buffer.concat(kept).toString();
      kept = [];
      bytes = 0;
      return JSON.parse(text) as ToUnit;
    }
  };
  const send = (message: FromUnit): void => {
    const line = Buffer.from(`${JSON.stringify(message)}\n`);
    for (let at = 0; at < line.length; ) at += writeSync(1, line, at);
  };
  return {
    receive,
    send,
    ask: (message: FromUnit): ToUnit => {
      send(message);
      return receive();
    },
  };
}
