import type { Endpoint } from '#libs/contracts';

/** Subject of an endpoint's requests: `svc.v1.<role>.<name>`. */
export function subjectOf(endpoint: Endpoint): string {
  return `svc.v1.${endpoint.role}.${endpoint.name}`;
}

/** Every process with a role shares its requests with the others through this queue group. */
export const QUEUE_GROUP = 'svc';

/** Headers of requests and answers over NATS. */
export const WIRE = {
  requestId: 'X-Request-Id',
  idempotencyKey: 'Idempotency-Key',
  /** Revision that the caller has read; of answers, the one that it has now. */
  ifMatch: 'If-Match',
  etag: 'Etag',
  /** Who called the gateway; broker permissions decide who may set it. */
  principal: 'Ironclaw-Principal',
  /** How long the caller waits. */
  timeoutMs: 'Ironclaw-Timeout-Ms',
  /** Path and query parameters of an outside contract, as a JSON object of texts. */
  input: 'Ironclaw-Input',
  /** Status of the answer, as over HTTP. */
  status: 'Ironclaw-Status',
} as const;

/** Room that headers and the protocol line take of the broker's message limit. */
export const WIRE_OVERHEAD_BYTES = 4_096;
