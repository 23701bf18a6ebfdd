import { readFileSync } from 'node:fs';
import { type AppError, invalid } from '#libs/contracts';
import { z } from 'zod';

const section = z.looseObject({
  required_fields: z.array(z.string().min(1)),
  forbidden_fields: z.array(z.string().min(1)),
});
const shape = z.looseObject({ body_sync: section, tracker_bind: section });

export type Fields = Readonly<Record<string, unknown>>;

/** Refuses fields that the contract forbids, and the lack of those that it requires. */
export type Gate = (fields: Fields) => void;

const SHAPE = new URL('./upstream-3.0.0-shape.json', import.meta.url);

/**
 * The gates of body sync and tracker bind, as the contract's machine-readable shape has them.
 * @param file another shape than the one that is shipped
 * @throws {INVALID_REQUEST} the file is missing or is no such shape
 */
export function loadGates(file: string | URL = SHAPE): { bodySync: Gate; trackerBind: Gate } {
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
    bodySync: gateOf('body_sync', body_sync),
    trackerBind: gateOf('tracker_bind', tracker_bind),
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
