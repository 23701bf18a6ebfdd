import { randomBytes } from 'node:crypto';

const session = randomBytes(8).toString('hex');
let count = 0;

/** A name that no other call, thread or process makes. */
export function tempName(prefix: string): string {
  count++;
  return `${prefix}${session}${count.toString(36)}`;
}
