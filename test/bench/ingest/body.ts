export const BENCH_SECRET = 'a secret of the bench';

/** A milestone envelope in canonical form; each count is a key of its own. */
export function signedBody(tag: string, count: number, timestamp: string): string {
  const event =
    '{"claim":"The nightly build was promoted to staging after all of its gates had passed.",' +
    '"evidence":[{"path":"services/api","ref":"9f1c0de","summary":"merge of three changes",' +
    '"type":"commit"},{"path":"logs/nightly.txt","summary":"all gates green","type":"log"}],' +
    `"milestoneId":"build.${tag}.${count}","nextAction":"Run the smoke tests.",` +
    `"riskStatus":"on-track","scope":"release","source":"agent","timestampUtc":"${timestamp}"}`;
  return `{"event":${event},"idempotencyKey":"${tag}-${count}","sentAtUtc":"${timestamp}"}`;
}
