import { readFileSync } from 'node:fs';
import { type AppError, invalid } from '#libs/contracts';
import { z } from 'zod';

const section = z.looseObject({
  required_fields: z.array(z.string().min(1)),
  forbidden_fields: z.array(z.string().min(1)),
});
const names = z.array(z.string().min(1));
const shape = z.looseObject({
  envelope: z.looseObject({
    ...section.shape,
    aggregate_type: z.looseObject({ allowed: names, forbidden: names }),
    schema_version: z.looseObject({ value: z.string().min(1) }),
  }),
  payload: z.looseObject({ mission_scoped: section }),
  body_sync: section,
  tracker_bind: section,
});
type Shape = z.output<typeof shape>;

export type Fields = Readonly<Record<string, unknown>>;

/** Refuses fields that the contract forbids, and the lack of those that it requires. */
export type Gate = (fields: Fields) => void;

export type Gates = { event: Gate; bodySync: Gate; trackerBind: Gate };

const SHAPE = new URL('./upstream-3.0.0-shape.json', import.meta.url);

/**
 * The gates of events, body sync and tracker bind, as the contract's machine-readable shape has
 * them.
 * @param file another shape than the one that is shipped
 * @throws {INVALID_REQUEST} the file is missing or is no such shape
 */
export function loadGates(file: string | URL = SHAPE): Gates {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw invalid('contract shape', `${String(file)} cannot be read: ${(error as Error).message}`);
  }
  const read = shape.safeParse(value);
  if (!read.success) {
    const at = read.error.issues[0]?.path.join('.');
    throw invalid('contract shape', `${String(file)} is none: ${at}`);
  }
  const { body_sync, tracker_bind } = read.data;
  return {
    event: eventGate(read.data),
    bodySync: gateOf('body_sync', body_sync),
    trackerBind: gateOf('tracker_bind', tracker_bind),
  };
}

function eventGate({ envelope, payload }: Shape): Gate {
  const top = gateOf('envelope', envelope);
  const inner = gateOf('payload', payload.mission_scoped);
  const { allowed, forbidden } = envelope.aggregate_type;
  return (event) => {
    top(event);
    const { schema_version: version, aggregate_type: type } = event;
    if (version !== envelope.schema_version.value) {
      throw violation('envelope', 'schema_version', `must be ${envelope.schema_version.value}`);
    }
    const known = typeof type === 'string' && allowed.includes(type) && !forbidden.includes(type);
    if (!known) throw violation('envelope', 'aggregate_type', `must be of ${allowed.join(', ')}`);
    const isObject = typeof event.payload === 'object' && event.payload !== null;
    if (!isObject) throw violation('envelope', 'payload', 'must be an object');
    // What is no mission's own, as a build, names no mission.
    if (type !== 'Build') inner(event.payload as Fields);
  };
}

function gateOf(context: string, rules: z.output<typeof section>): Gate {
  return (fields) => {
    for (const field of rules.forbidden_fields) {
      if (Object.hasOwn(fields, field)) throw violation(context, field, 'is forbidden');
    }
    for (const field of rules.required_fields) {
      const value = Object.hasOwn(fields, field) ? fields[field] : undefined;
      const isEmpty = value === undefined || value === null || value === '';
      if (isEmpty) throw violation(context, field, 'is required and must not be empty');
    }
  };
}

function violation(context: string, field: string, reason: string): AppError {
  return invalid(field, `${reason} (contract 3.0.0, ${context})`);
}
