import { z } from 'zod';

/** Source of these shapes: event-envelope.md, upstream-3.0.0-shape.json and reference §2. */
export const MISSION_SCHEMA_VERSION = '3.0.0';

const CROCKFORD = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i;
const HEX_32 = /^[0-9a-f]{32}$/i;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** An event id in its one spelling: ULID upper case, UUID lower case and hyphenated. */
export function normaliseEventId(text: string): string | undefined {
  if (CROCKFORD.test(text)) return text.toUpperCase();
  if (UUID.test(text)) return text.toLowerCase();
  if (!HEX_32.test(text)) return undefined;
  const hex = text.toLowerCase();
  const cuts = [0, 8, 12, 16, 20, 32];
  return cuts
    .slice(1)
    .map((end, i) => hex.slice(cuts[i], end))
    .join('-');
}

const filled = z.string().refine((text) => text.trim() !== '', 'must not be empty');

/** ULID, UUID, or UUID without hyphens. */
const eventId = z.string().transform((text, ctx) => {
  const normal = normaliseEventId(text);
  if (normal !== undefined) return normal;
  ctx.addIssue({ code: 'custom', message: 'must be a ULID or a UUID' });
  return z.NEVER;
});

/** `mission_number` may come as an integer; on the wire it is a string. */
const missionNumber = z.union([filled, z.int().min(1).transform(String)]);
const mission = { mission_slug: filled, mission_number: missionNumber, mission_type: filled };
const wpId = z.string().regex(/^WP\d{2,}$/, 'must be WP and digits');
const lane = filled;
const count = z.int().min(0);
const optional = <T extends z.ZodType>(schema: T) => schema.nullish();
const object = z.record(z.string(), z.unknown());

const statusChanged = z
  .looseObject({
    ...mission,
    wp_id: wpId,
    from_lane: z.union([lane, z.null()]),
    to_lane: lane,
    actor: filled,
    force: optional(z.boolean()),
    reason: optional(z.string()),
    review_ref: optional(z.string()),
    execution_mode: optional(z.string()),
    evidence: optional(object),
    review_result: optional(object),
    policy_metadata: optional(object),
  })
  .refine(({ force, reason }) => force !== true || Boolean(reason?.trim()), {
    path: ['reason'],
    error: 'is required where force is true',
  });

/** The payload of each canonical event type; further fields are kept. */
export const MISSION_EVENTS = {
  MissionCreated: z.looseObject({
    ...mission,
    target_branch: optional(filled),
    wp_count: optional(count),
  }),
  MissionClosed: z.looseObject({ ...mission, total_wps: optional(count) }),
  WPStatusChanged: statusChanged,
  WPCreated: z.looseObject({
    ...mission,
    wp_id: wpId,
    title: filled,
    dependencies: optional(z.array(z.string())),
  }),
  WPAssigned: z.looseObject({
    ...mission,
    wp_id: wpId,
    agent_id: filled,
    phase: z.enum(['implementation', 'review']),
    retry_count: optional(count),
  }),
  HistoryAdded: z.looseObject({
    ...mission,
    wp_id: wpId,
    entry_type: z.enum(['note', 'review', 'error', 'comment']),
    entry_content: z.string().min(1),
    author: optional(z.string()),
  }),
  ErrorLogged: z.looseObject({
    ...mission,
    error_type: z.enum(['validation', 'runtime', 'network', 'auth', 'unknown']),
    error_message: filled,
    wp_id: optional(wpId),
    stack_trace: optional(z.string()),
    agent_id: optional(z.string()),
  }),
  DependencyResolved: z.looseObject({
    ...mission,
    wp_id: wpId,
    dependency_wp_id: wpId,
    resolution_type: z.enum(['completed', 'skipped', 'merged']),
  }),
  MissionOriginBound: z.looseObject({
    ...mission,
    provider: z.enum(['jira', 'linear']),
    external_issue_id: filled,
    external_issue_key: filled,
    external_issue_url: filled,
    title: filled,
  }),
} as const;

export type MissionEventType = keyof typeof MISSION_EVENTS;

const LEGACY_AGGREGATE = /^feature(_catalog)?\//;

/**
 * One mission event on the wire, normalised. Types beyond the canonical list are known only for the
 * aggregates Build and MissionDossier. Further top-level fields are kept.
 */
export const missionEnvelope = z
  .looseObject({
    event_id: eventId,
    event_type: filled.refine((type) => !type.startsWith('Feature'), 'is a legacy type'),
    aggregate_id: filled.refine((id) => !LEGACY_AGGREGATE.test(id), 'has a legacy prefix'),
    aggregate_type: filled,
    schema_version: z.literal(MISSION_SCHEMA_VERSION),
    build_id: filled,
    node_id: filled,
    lamport_clock: z.int().min(0),
    timestamp: z.iso.datetime({ offset: true, error: 'must be ISO 8601 with a zone' }),
    causation_id: eventId.nullish().transform((value) => value ?? null),
    correlation_id: filled.nullish(),
    project_uuid: z
      .guid('must be a UUID')
      .transform((uuid) => uuid.toLowerCase())
      .nullish(),
    payload: object,
  })
  .transform((event, ctx) => {
    const { correlation_id: given, causation_id, event_id, event_type: type } = event;
    const correlation_id = given ?? causation_id ?? event_id;
    const schema = Object.hasOwn(MISSION_EVENTS, type)
      ? MISSION_EVENTS[type as MissionEventType]
      : undefined;
    if (schema === undefined) {
      if (['Build', 'MissionDossier'].includes(event.aggregate_type)) {
        return { ...event, correlation_id };
      }
      ctx.addIssue({ code: 'custom', path: ['event_type'], message: 'is no canonical type' });
      return z.NEVER;
    }
    const read = schema.safeParse(event.payload);
    if (read.success)
      return { ...event, correlation_id, payload: read.data as typeof event.payload };
    for (const issue of read.error.issues) {
      ctx.addIssue({ code: 'custom', path: ['payload', ...issue.path], message: issue.message });
    }
    return z.NEVER;
  });

export type MissionEnvelope = z.output<typeof missionEnvelope>;

const names = z.array(z.string().min(1));
const fields = { required_fields: names, forbidden_fields: names };

/**
 * upstream-3.0.0-shape.json. A section that is not known here could not be enforced, so it is
 * refused; names that begin with `_` are remarks.
 */
export const contractShape = z
  .record(z.string(), z.unknown())
  .transform((all) => Object.fromEntries(Object.entries(all).filter(([key]) => key[0] !== '_')))
  .pipe(
    z.strictObject({
      envelope: z.strictObject({
        ...fields,
        aggregate_type: z.strictObject({ allowed: names, forbidden: names }),
        schema_version: z.strictObject({ value: z.string().min(1) }),
      }),
      payload: z.strictObject({ mission_scoped: z.strictObject(fields) }),
      body_sync: z.strictObject(fields),
      tracker_bind: z.strictObject(fields),
      orchestrator_api: z.strictObject({
        allowed_commands: names,
        forbidden_commands: names,
        allowed_error_codes: names,
        forbidden_error_codes: names,
        forbidden_payload_fields: names,
        required_payload_fields: names,
        allowed_cli_flags: names,
        forbidden_cli_flags: names,
      }),
    }),
  );

export type ContractShape = z.output<typeof contractShape>;
