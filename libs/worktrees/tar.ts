/** One entry of a tar archive; `target` makes it a symbolic link. */
export type TarEntry = {
  path: string;
  mode: number;
  size: number;
  mtimeSec: number;
  target?: string;
};

const BLOCK = 512;

/** The header blocks of an entry: ustar, with a pax header before it where a name is too long. */
export function tarHeader(entry: TarEntry): Buffer {
  const path = Buffer.from(entry.path);
  const target = Buffer.from(entry.target ?? '');
  const records: string[] = [];
  if (path.length > 100) records.push(paxRecord('path', entry.path));
  if (target.length > 100) records.push(paxRecord('linkpath', entry.target ?? ''));
  const header = ustar(entry, path, target, entry.target === undefined ? '0' : '2');
  if (records.length === 0) return header;
  const body = Buffer.from(records.join(''));
  const pax = { path: 'pax', mode: 0o644, size: body.length, mtimeSec: entry.mtimeSec };
  const paxHeader = ustar(pax, Buffer.from('pax'), Buffer.alloc(0), 'x');
  return Buffer.concat([paxHeader, body, tarPadding(body.length), header]);
}

/** What fills an entry's content up to the next block. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** The end of an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

function ustar(entry: TarEntry, path: Buffer, target: Buffer, type: string): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, '0')}\0`;
  path.copy(header, 0, 0, 100);
  header.write(octal(entry.mode, 8), 100, 'latin1');
  header.write(octal(0, 8), 108, 'latin1'); // owner
  header.write(octal(0, 8), 116, 'latin1'); // group
  header.write(octal(entry.size, 12), 124, 'latin1');
  header.write(octal(entry.mtimeSec, 12), 136, 'latin1');
  header.write('        ', 148, 'latin1');
  header.write(type, 156, 'latin1');
  target.copy(header, 157, 0, 100);
  header.write('ustar\x0000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** A pax record is `<length> <key>=<value>\n`, its length counting itself. */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return `${length} ${key}=${value}\n`;
}
