import {
  canonicalize,
  signBody,
  type SignatureMode,
  SIGNATURE_HEADER,
  type SigningSecret,
  TIMESTAMP_HEADER,
} from '#libs/signing';
import type { SignBody } from './transports.ts';

/** The two headers of the contract; the time is that of the attempt, whenever it was queued. */
export function createSigner(
  secret: SigningSecret,
  mode: SignatureMode,
  now: () => Date,
): SignBody {
  return (channel, body) => {
    const timestamp = now().toISOString();
    const canonical = canonicalize(JSON.parse(body));
    return {
      [SIGNATURE_HEADER]: signBody(secret, { channel, timestamp, canonical }, mode),
      [TIMESTAMP_HEADER]: timestamp,
    };
  };
}
