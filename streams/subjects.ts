/**
 * The subjects that the streams take, as patterns. The only place where they are written;
 * libs/eventlog builds and parses the literal ones.
 */
export const SUBJECTS = {
  /** garrison, theater, run, order */
  ledger: 'led.v1.*.*.*.*',
  /** theater, class */
  jobs: 'job.v1.*.*',
  /** kind, id: a timer that waits */
  timers: 'tmr.v1.*.*',
  /** kind, id: a timer that has fired */
  timersFired: 'tmr.v1.fired.*.*',
  intakeEvents: 'intake.v1.events',
  /** channel: signed deliveries that wait; those that want an answer are requests one token up */
  signedQueue: 'signed.v1.queue.*',
  /** channel, SHA-256 of the idempotency key */
  feeds: 'feed.v1.*.*',
  /** channel, target, hash of the idempotency key */
  outbox: 'out.v1.*.*.*',
  /** kind, id */
  leases: 'lease.v1.*.*',
  /** project, mission, aggregate */
  missions: 'mis.v1.*.*.*',
  /** project */
  projects: 'prj.v1.*',
  /** channel */
  dead: 'dead.v1.*',
} as const;

/** Bucket of content by digest. */
export const OBJECT_BUCKET = 'ironclaw-objects';

/** Advisories of one stream that a message was given up: redelivered too often, or refused. */
export function advisorySubjects(stream: string): string[] {
  const root = '$JS.EVENT.ADVISORY.CONSUMER';
  return [`${root}.MAX_DELIVERIES.${stream}.>`, `${root}.MSG_TERMINATED.${stream}.>`];
}
