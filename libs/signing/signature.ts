import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Channel } from '#libs/contracts';
import type { SigningSecret } from './secrets.ts';

/**
 * What the MAC covers: `body` the canonical body alone, as the contract has it; `bound` the header
 * time, the channel and the canonical body, joined by dots, so that neither can be exchanged.
 */
export type SignatureMode = 'body' | 'bound';

/** The parts of a delivery that a `bound` signature ties together. */
export type Signed = {
  readonly channel: Channel;
  /** The timestamp header, as sent. */
  readonly timestamp: string;
  readonly canonical: string;
};

/** The signature header of a delivery: 64 lower-case hex digits of HMAC-SHA256. */
export function signBody(
  secret: SigningSecret,
  signed: Signed,
  mode: SignatureMode = 'body',
): string {
  return macOf(secret, signed, mode).toString('hex');
}

export type Verdict = { readonly keyId: string; readonly mode: SignatureMode };

/**
 * Which secret made the signature, and over what; undefined if none did. Every secret is tried,
 * each in constant time. Upper-case hex is accepted; prefixes and other encodings are not.
 * @param requireBound true: a signature over the body alone does not count
 */
export function verifySignature(
  secrets: readonly SigningSecret[],
  signed: Signed,
  signature: string,
  requireBound = false,
): Verdict | undefined {
  if (!/^[0-9a-f]{64}$/i.test(signature)) return undefined;
  const given = Buffer.from(signature, 'hex');
  let found: Verdict | undefined;
  for (const secret of secrets) {
    for (const mode of requireBound ? (['bound'] as const) : (['body', 'bound'] as const)) {
      // The second MAC is needed only where the first does not fit.
      if (found === undefined && timingSafeEqual(given, macOf(secret, signed, mode))) {
        found = { keyId: secret.keyId, mode };
      }
    }
  }
  return found;
}

function macOf(secret: SigningSecret, signed: Signed, mode: SignatureMode): Buffer {
  const mac = createHmac('sha256', secret.secret);
  if (mode === 'bound') mac.update(`${signed.timestamp}.${signed.channel}.`);
  return mac.update(signed.canonical).digest();
}
