import { createHmac } from 'node:crypto';
import { canonicalize, SIGNATURE_HEADER, TIMESTAMP_HEADER } from '#libs/signing';

/** Signs milestones here: known to the system, and to the senders outside. */
export const SECRET = 'a secret of the chaos';
const FORGED_SECRET = 'what a forger takes for the secret';

/** `http` is answered with what became of it; what is put into the queue is not. */
export type DeliveryWay = 'http' | 'queue';

/** A milestone as a stranger sends it. */
export type SignedEnvelope = {
  idempotencyKey: string;
  sentAtUtc: string;
  event: { milestoneId: string } & Record<string, unknown>;
};

/** @param key names the delivery, and its milestone */
export function envelopeOf(key: string): SignedEnvelope {
  const now = new Date().toISOString();
  return {
    idempotencyKey: key,
    sentAtUtc: now,
    event: {
      milestoneId: `told.${key}`,
      timestampUtc: now,
      scope: 'release',
      claim: `Told from outside: ${key}`,
      evidence: [{ type: 'log', path: 'logs/build.txt', summary: 'green' }],
      riskStatus: 'on-track',
      nextAction: 'Watch it',
      source: 'operator',
    },
  };
}

/** The two headers of one attempt. @param forged signs with another secret */
export function headersOf(envelope: SignedEnvelope, forged: boolean): Record<string, string> {
  const mac = createHmac('sha256', forged ? FORGED_SECRET : SECRET).update(canonicalize(envelope));
  return {
    [SIGNATURE_HEADER]: mac.digest('hex'),
    [TIMESTAMP_HEADER]: new Date().toISOString(),
  };
}
