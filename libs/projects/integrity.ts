import { createPublicKey, type JsonWebKey, type KeyObject, sign, verify } from 'node:crypto';
import { canonicalJson, sha256Hex } from './canonical.ts';
import { isFilled, isObject, type Json } from './text.ts';

/** Public half of a P-256 key. */
export type PublicJwk = { kty: 'EC'; crv: 'P-256'; x: string; y: string };

export type Signature = {
  algorithm: 'ECDSA_P256_SHA256';
  public_key_jwk: PublicJwk;
  /** Raw r and s, base64url without padding. */
  signature_b64url: string;
  signed_at: string;
};

/** Where a project's history stood when it was exported. */
export type HistoryHead = {
  /** Number of entries; at least 1. */
  entries: number;
  /** Hash of the last of them. */
  head: string;
  /** Over hash, entries and head together, so the history is bound to this very document. */
  signature_b64url?: string;
};

export type Integrity = {
  algorithm: 'sha256';
  canonical_version: '1';
  /** SHA-256 of the canonical project without its top-level `integrity`, lower-case hex. */
  hash: string;
  computed_at: string;
  signature?: Signature;
  history?: HistoryHead;
};

/** A key that signs. The private half never leaves the process that holds it. */
export type SigningKey = { keyId: string; privateKey: KeyObject; publicJwk: PublicJwk };

/** `unknown-key`: rightly signed, but by a key that is not among the known ones. */
export type SignatureOutcome = 'valid' | 'invalid' | 'absent' | 'unknown-key';

export type IntegrityReport = {
  hash: 'valid' | 'invalid' | 'absent';
  signature: SignatureOutcome;
  /** Key id of the signature's key; null: none, or none that can be read. */
  key_id: string | null;
  /** Computed of the project as it is. */
  computed_hash: string;
  /** What the project says of its history; null: nothing. */
  history: { entries: number; head: string; signature: SignatureOutcome } | null;
};

const P256_BYTES = 64;

/** The canonical text that hash and signature are made of. */
export function signedText(project: Json): string {
  const { integrity: _integrity, ...content } = project;
  return canonicalJson(content);
}

/** SHA-256 of a project without its top-level `integrity`. */
export function projectHash(project: Json): string {
  return sha256Hex(signedText(project));
}

/** Makes the integrity block of a project; signed if a key is given. */
export function makeIntegrity(
  project: Json,
  given: { now: string; key?: SigningKey | undefined; history?: HistoryHead | undefined },
): Integrity {
  const { now, key, history } = given;
  const text = signedText(project);
  const hash = sha256Hex(text);
  const block: Integrity = { algorithm: 'sha256', canonical_version: '1', hash, computed_at: now };
  if (key !== undefined) {
    const { publicJwk: public_key_jwk } = key;
    const signature_b64url = signText(text, key);
    const algorithm = 'ECDSA_P256_SHA256';
    block.signature = { algorithm, public_key_jwk, signature_b64url, signed_at: now };
  }
  if (history !== undefined) {
    const { entries, head } = history;
    const bound = key && { signature_b64url: signText(historyText(hash, { entries, head }), key) };
    block.history = { entries, head, ...bound };
  }
  return block;
}

/**
 * Compares a project with its own integrity block. Never throws. `isKnown` says whether a key may
 * vouch for a project, by its id (RFC 7638 thumbprint).
 */
export function verifyIntegrity(
  project: Json,
  isKnown: (keyId: string) => boolean,
): IntegrityReport {
  const block: Json = isObject(project.integrity) ? project.integrity : {};
  const text = signedText(project);
  const computed_hash = sha256Hex(text);
  const signature: Json = isObject(block.signature) ? block.signature : {};
  const jwk = publicJwk(signature.public_key_jwk);
  const key_id = jwk === undefined ? null : keyIdOf(jwk);
  const judge = (signed: string, value: unknown): SignatureOutcome => {
    if (jwk === undefined || key_id === null || !verifyText(signed, value, jwk)) return 'invalid';
    return isKnown(key_id) ? 'valid' : 'unknown-key';
  };
  return {
    hash: !isFilled(block.hash) ? 'absent' : block.hash === computed_hash ? 'valid' : 'invalid',
    signature: block.signature == null ? 'absent' : judge(text, signature.signature_b64url),
    key_id,
    computed_hash,
    history: historyReport(block.history, computed_hash, judge),
  };
}

function historyReport(
  value: unknown,
  hash: string,
  judge: (signed: string, value: unknown) => SignatureOutcome,
): IntegrityReport['history'] {
  if (!isObject(value)) return null;
  const { entries, head, signature_b64url } = value;
  if (!Number.isSafeInteger(entries) || Number(entries) < 0) return null;
  if (typeof head !== 'string' || !/^[0-9a-f]{64}$/.test(head)) return null;
  const claimed = { entries: Number(entries), head };
  const signed = historyText(hash, claimed);
  const signature = signature_b64url == null ? 'absent' : judge(signed, signature_b64url);
  return { ...claimed, signature };
}

function historyText(hash: string, { entries, head }: { entries: number; head: string }): string {
  return canonicalJson({ entries, hash, head });
}

/** RFC 7638 thumbprint of a public key: 64 hex digits. */
export function keyIdOf({ crv, kty, x, y }: PublicJwk): string {
  return sha256Hex(canonicalJson({ crv, kty, x, y }));
}

/** The public half of a key that was read from outside; undefined if it is no P-256 key. */
export function publicJwk(value: unknown): PublicJwk | undefined {
  if (!isObject(value)) return undefined;
  const { kty, crv, x, y } = value;
  if (kty !== 'EC' || crv !== 'P-256' || typeof x !== 'string' || typeof y !== 'string') {
    return undefined;
  }
  return { kty, crv, x, y };
}

function signText(text: string, { privateKey: key }: SigningKey): string {
  const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  return signature.toString('base64url');
}

function verifyText(text: string, value: unknown, jwk: PublicJwk): boolean {
  if (typeof value !== 'string') return false;
  const signature = Buffer.from(value, 'base64url');
  if (signature.length !== P256_BYTES) return false;
  const key = readPublicKey(jwk);
  if (key === undefined) return false;
  return verify('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }, signature);
}

/** A point that is not on the curve is no key. */
function readPublicKey(jwk: PublicJwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: { ...jwk } as JsonWebKey, format: 'jwk' });
  } catch {
    return undefined;
  }
}
