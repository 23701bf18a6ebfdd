export { canonicalize, parseSigned, type SignedBody } from './canonical.ts';
export {
  ROTATED_VARIABLE,
  SECRET_VARIABLE,
  secretsFromEnv,
  signingSecret,
  type SigningSecret,
} from './secrets.ts';
export {
  type SignatureMode,
  signBody,
  type Signed,
  type Verdict,
  verifySignature,
} from './signature.ts';
export {
  checkWindow,
  REPLAY_WINDOW_MS,
  SIGNATURE_HEADER,
  TIMESTAMP_HEADER,
  type WindowVerdict,
} from './window.ts';
