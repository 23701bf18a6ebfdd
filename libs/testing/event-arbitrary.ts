import fc from 'fast-check';
import { EVENT_TYPES, type EventType, type StoredEvent } from '#libs/contracts';

const sha = fc.constantFrom('a'.repeat(40), 'b'.repeat(40));
const sha256 = fc.constantFrom('c'.repeat(64), 'd'.repeat(64));
const path = fc.constantFrom('outputs/a.md', 'outputs/b.md', 'aar.json');
const name = fc.constantFrom('one', 'two', 'three');
const orderId = fc.constantFrom('o1', 'o2', 'o3');
const gates = fc.array(fc.record({ gate: name, passed: fc.boolean(), message: name }), {
  maxLength: 2,
});

/** Values for every payload field that a fold looks at; a type takes those that it knows. */
const FIELDS: Record<string, fc.Arbitrary<unknown>> = {
  attempt: fc.integer({ min: 1, max: 4 }),
  aar: fc.record({ path, status: fc.constantFrom('completed', 'failed') }),
  archive_path: name,
  artifacts: fc.array(
    fc.record({ order_id: orderId, path, commit_sha: sha, type: fc.constant('text/plain') }),
    { maxLength: 3 },
  ),
  autopilot: fc.boolean(),
  base_sha: sha,
  branch: name,
  bytes: fc.nat(1_000),
  code: name,
  commit_sha: sha,
  constraints: fc.record({ budget_seconds: fc.constant(60), max_retries: fc.nat(3) }),
  cost_micro_usd: fc.nat(1_000),
  depends_on: fc.array(orderId, { maxLength: 2 }),
  duration_ms: fc.nat(100_000),
  escalation_id: name,
  files: fc.array(name, { maxLength: 2 }),
  gate: name,
  gates,
  inputs: fc.array(fc.record({ name: path, sha256, bytes: fc.nat(9) }), { maxLength: 2 }),
  label: name,
  message: name,
  metadata: fc.dictionary(fc.string({ maxLength: 4 }), fc.jsonValue({ maxDepth: 1 })),
  objective: name,
  order_id: orderId,
  order_ids: fc.array(orderId, { maxLength: 3 }),
  path,
  playbook: name,
  policy_version: fc.nat(9),
  reason: name,
  reply: fc.oneof(
    fc.record({ sha256, bytes: fc.nat(9) }),
    fc.array(fc.record({ order_id: orderId, path }), { maxLength: 2 }),
  ),
  request_digest: name,
  retryable: fc.boolean(),
  service: name,
  severity: fc.constantFrom('LOW', 'CRITICAL'),
  sha256,
  stage: name,
  status: fc.constantFrom('completed', 'failed'),
  step: name,
  type: name,
  usage: fc.record({ input_tokens: fc.nat(99), output_tokens: fc.nat(99) }),
  worktree_path: name,
};

const TYPES = Object.keys(EVENT_TYPES) as EventType[];
const payload = fc.record(FIELDS, { requiredKeys: [] });

/**
 * Any well-formed event of any type, mostly of order o1 in run r1, sequence still 0. Its payload
 * passes the schema of its type.
 */
export function arbitraryEvent(types: readonly EventType[] = TYPES): fc.Arbitrary<StoredEvent> {
  return fc
    .record({
      type: fc.constantFrom(...types),
      payload,
      event_id: fc.integer({ min: 1, max: 10_000 }).map((n) => `e${n}`),
      second: fc.nat(86_399),
      theater_id: rarely('other', 'demo'),
      run_id: rarely('r2', 'r1'),
      order_id: fc.oneof(
        { weight: 6, arbitrary: fc.constant('o1') },
        { weight: 1, arbitrary: orderId },
      ),
      unit_id: fc.constantFrom('u1', 'u2', null),
    })
    .map(({ second, ...fields }) => {
      const { needs } = EVENT_TYPES[fields.type];
      const ofOrder = (needs as readonly string[]).includes('order_id') || needs.length === 0;
      return {
        ...fields,
        garrison_id: 'g',
        ts: new Date(Date.UTC(2026, 0, 1) + second * 1_000).toISOString(),
        order_id: ofOrder ? fields.order_id : null,
        payload: fitting(fields.type, fields.payload),
        seq: 0,
      } as StoredEvent;
    });
}

/** A ledger of such events: sequences from 1, now and then with gaps. */
export function arbitraryLedger(
  options: { maxLength?: number; types?: readonly EventType[] } = {},
): fc.Arbitrary<StoredEvent[]> {
  const { maxLength = 40, types } = options;
  const gap = rarely(3, 1);
  return fc.array(fc.tuple(arbitraryEvent(types), gap), { maxLength }).map((items) => {
    let seq = 0;
    return items.map(([event, step]) => {
      seq += step;
      return { ...event, seq };
    });
  });
}

function fitting(type: EventType, fields: Record<string, unknown>): Record<string, unknown> {
  const schema = EVENT_TYPES[type].payload;
  const kept = Object.entries(fields).filter(
    ([key, value]) => schema.safeParse({ [key]: value }).success,
  );
  return schema.parse(Object.fromEntries(kept)) as Record<string, unknown>;
}

function rarely<T>(seldom: T, usual: T): fc.Arbitrary<T> {
  return fc.oneof(
    { weight: 15, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constant(seldom) },
  );
}
