import { createHash } from 'node:crypto';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/**
 * An id that follows from its parts alone: 26 characters of Crockford base32, the first 130 bits
 * of the SHA-256 of the parts. Parts are told apart: ('ab', 'c') and ('a', 'bc') differ.
 */
export function deriveId(...parts: string[]): string {
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest();
  let id = '';
  let bits = 0;
  let held = 0;
  for (const byte of digest.subarray(0, 17)) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5 && id.length < 26) {
      bits -= 5;
      id += CROCKFORD[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return id;
}

/** The order of step `stepKey` in run `runId`: planning twice names the same orders. */
export function orderIdFor(runId: string, stepKey: string, garrison: string): string {
  return deriveId('order', garrison, runId, stepKey);
}

/** The run of a caller's request: asking twice names the same run. */
export function runIdFor(garrison: string, theater: string, requestId: string): string {
  return deriveId('run', garrison, theater, requestId);
}

/** The event that follows from a cause, as `eventIdFor(garrison, draft.key)`. */
export function eventIdFor(...cause: string[]): string {
  return deriveId('event', ...cause);
}
