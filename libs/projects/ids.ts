import { sha256Hex } from './canonical.ts';

/**
 * A UUID (RFC 9562, version 8) that follows from its parts alone. Parts are told apart: ('ab', 'c')
 * and ('a', 'bc') differ.
 */
export function uuidFrom(...parts: string[]): string {
  const hex = sha256Hex(JSON.stringify(parts));
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
