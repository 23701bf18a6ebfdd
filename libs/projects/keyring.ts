import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
} from 'node:crypto';
import { AppError } from '#libs/contracts';
import { keyIdOf, type PublicJwk, publicJwk, type SigningKey } from './integrity.ts';
import { isObject, type Json, listOf } from './text.ts';

/** A key of a ring. Without its private half it only verifies. */
export type RingKey = {
  key_id: string;
  created_at: string;
  /** No longer signs since then; what it has signed stays valid. */
  retired_at: string | null;
  public_jwk: PublicJwk;
  private_jwk: JsonWebKey | null;
};

/** The keys of one installation, newest last. JSON: where it is kept safe is the caller's to know. */
export type KeyRing = { readonly keys: readonly RingKey[] };

export const EMPTY_RING: KeyRing = { keys: [] };

/** What may be shown of a key. */
export type KeyInfo = Omit<RingKey, 'private_jwk'> & { signs: boolean };

/** Makes a P-256 key pair: the one effect here, so its randomness is the caller's to ask for. */
export function newKeyPair(): JsonWebKey {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
}

/** The ring with a new key that signs from now on; the one before is retired. */
export function rotateKey(ring: KeyRing, privateJwk: JsonWebKey, now: string): KeyRing {
  const public_jwk = publicJwk(
    createPublicKey({ key: privateJwk, format: 'jwk' }).export({ format: 'jwk' }),
  );
  if (public_jwk === undefined) throw new TypeError('the key is none of P-256');
  const key_id = keyIdOf(public_jwk);
  if (ring.keys.some((key) => key.key_id === key_id)) return ring;
  const retired = ring.keys.map((key) => ({ ...key, retired_at: key.retired_at ?? now }));
  const added = { key_id, created_at: now, retired_at: null, public_jwk, private_jwk: privateJwk };
  return { keys: [...retired, added] };
}

/** The ring with the public half of somebody else's key, which is known from now on. */
export function trustKey(ring: KeyRing, jwk: PublicJwk, now: string): KeyRing {
  const key_id = keyIdOf(jwk);
  if (ring.keys.some((key) => key.key_id === key_id)) return ring;
  const added = { key_id, created_at: now, retired_at: now, public_jwk: jwk, private_jwk: null };
  return { keys: [added, ...ring.keys] };
}

/** The key that signs; undefined: none was made yet. */
export function signingKey({ keys }: KeyRing): SigningKey | undefined {
  const key = keys.findLast(({ retired_at, private_jwk }) => retired_at === null && private_jwk);
  if (key?.private_jwk == null) return undefined;
  const privateKey = createPrivateKey({ key: key.private_jwk, format: 'jwk' });
  return { keyId: key.key_id, privateKey, publicJwk: key.public_jwk };
}

/** All keys without their private halves. */
export function listKeys({ keys }: KeyRing): KeyInfo[] {
  return keys.map(({ private_jwk, ...key }) => ({
    ...key,
    signs: private_jwk !== null && key.retired_at === null,
  }));
}

/** The public half of a key, to be given to others. @throws {SIGNING_KEY_NOT_FOUND} */
export function exportPublicKey({ keys }: KeyRing, keyId: string): PublicJwk {
  const key = keys.find(({ key_id }) => key_id === keyId);
  if (key !== undefined) return key.public_jwk;
  throw new AppError('SIGNING_KEY_NOT_FOUND', { id: keyId });
}

/** Whether a key of the ring may vouch for a project: own, retired and trusted ones alike. */
export function knows({ keys }: KeyRing): (keyId: string) => boolean {
  const ids = new Set(keys.map(({ key_id }) => key_id));
  return (keyId) => ids.has(keyId);
}

/**
 * Reads a ring back from what was stored. A damaged one is refused, never replaced by a new key.
 * @throws {TypeError} it is no ring
 */
export function readKeyRing(value: unknown): KeyRing {
  if (!isObject(value) || !Array.isArray(value.keys)) throw new TypeError('not a key ring');
  return { keys: listOf(value.keys).map(readKey) };
}

function readKey(value: unknown, index: number): RingKey {
  const key: Json = isObject(value) ? value : {};
  const public_jwk = publicJwk(key.public_jwk);
  if (public_jwk === undefined || key.key_id !== keyIdOf(public_jwk)) {
    throw new TypeError(`key ${index} of the ring is damaged`);
  }
  const { created_at, retired_at, private_jwk } = key;
  return {
    key_id: key.key_id,
    created_at: String(created_at),
    retired_at: typeof retired_at === 'string' ? retired_at : null,
    public_jwk,
    private_jwk: isObject(private_jwk) ? (private_jwk as JsonWebKey) : null,
  };
}
