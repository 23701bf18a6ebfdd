import { createHash } from 'node:crypto';
import { type Channel, CHANNELS, isId } from '#libs/contracts';

const PREFIX = 'out.v1.';
/** Hexadecimal digits of the key's hash: 128 bits. */
const HASH_CHARS = 32;

/** Names a delivery for people and programs: `<channel>.<target>.<hash of its key>`. */
export function deliveryIdOf(channel: Channel, target: string, idempotencyKey: string): string {
  const hash = createHash('sha256').update(idempotencyKey).digest('hex').slice(0, HASH_CHARS);
  return `${channel}.${target}.${hash}`;
}

/** The subject of a delivery in the OUTBOX stream. */
export function deliverySubject(deliveryId: string): string {
  return PREFIX + deliveryId;
}

/** The delivery at a subject; undefined where it is none. */
export function parseDeliverySubject(subject: string): string | undefined {
  const deliveryId = subject.startsWith(PREFIX) ? subject.slice(PREFIX.length) : '';
  return isDeliveryId(deliveryId) ? deliveryId : undefined;
}

export function isDeliveryId(text: string): boolean {
  const [channel, target, hash, ...rest] = text.split('.');
  return (
    rest.length === 0 &&
    (CHANNELS as readonly (string | undefined)[]).includes(channel) &&
    isId(target) &&
    /^[0-9a-f]{32}$/.test(hash ?? '')
  );
}

/** Where a receiver on the broker answers deliveries. */
export function ingestSubject(channel: Channel): string {
  return `signed.v1.${channel}`;
}
