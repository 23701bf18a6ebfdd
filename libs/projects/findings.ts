type Level = 'error' | 'warning';

/**
 * Every finding about a document, declared once: its level in lenient and in strict reading and
 * what it says. `off` is not told at all.
 */
export const FINDINGS = {
  BAD_JSON: { lenient: 'error', strict: 'error', message: 'The text is not JSON: {reason}' },
  TOO_LARGE: {
    lenient: 'error',
    strict: 'error',
    message: 'The {what} is over its limit of {limit}',
  },
  JSON_REFUSED: { lenient: 'error', strict: 'error', message: '{reason}' },
  BUNDLE_VERSION_UNSUPPORTED: {
    lenient: 'error',
    strict: 'error',
    message: 'Bundle version {version} is not supported',
  },
  READER_TOO_OLD: {
    lenient: 'error',
    strict: 'error',
    message: 'The bundle asks for a reader of version {version}; this one reads {reader}',
  },
  INTEGRITY_MISMATCH: {
    lenient: 'error',
    strict: 'error',
    message: 'The project is not what its integrity hash was made of',
  },
  SIGNATURE_INVALID: {
    lenient: 'error',
    strict: 'error',
    message: 'The signature is not one over this project',
  },
  SIGNATURE_REQUIRED: {
    lenient: 'error',
    strict: 'error',
    message: 'A signature of a known key is demanded; the signature is {outcome}',
  },
  SIGNATURE_UNKNOWN_KEY: {
    lenient: 'warning',
    strict: 'warning',
    message: 'The signature is of key {key}, which is not known here',
  },
  INTEGRITY_ABSENT: {
    lenient: 'warning',
    strict: 'warning',
    message: 'The project has no integrity hash, so nothing vouches for it',
  },
  NOT_OBJECT: { lenient: 'error', strict: 'error', message: 'The project is not an object' },
  SCHEMA_VERSION_MISSING: {
    lenient: 'error',
    strict: 'error',
    message: 'The schema version is blank',
  },
  SCHEMA_VERSION_UNSUPPORTED: {
    lenient: 'error',
    strict: 'error',
    message: 'Schema version {version} is unknown or newer than this engine',
  },
  PROJECT_ID: {
    lenient: 'error',
    strict: 'error',
    message: 'id must be 1 to 128 of A-Z a-z 0-9 _ -, not starting with -',
  },
  PROJECT_NAME: { lenient: 'error', strict: 'error', message: 'name must be a non-empty string' },
  FIELD_INVALID: { lenient: 'off', strict: 'error', message: '{field} must be {wanted}' },
  PLAN_ID_MISSING: { lenient: 'off', strict: 'error', message: 'The project names no plan' },
  PHASES_EMPTY: {
    lenient: 'error',
    strict: 'error',
    message: 'phases must be a list of at least one phase',
  },
  PHASE_INVALID: { lenient: 'error', strict: 'error', message: 'The phase is not an object' },
  PHASE_ID_MISSING: { lenient: 'error', strict: 'error', message: 'The phase has no id' },
  PHASE_ID_DUP: { lenient: 'error', strict: 'error', message: 'Phase id {id} occurs twice' },
  PHASE_NAME: { lenient: 'error', strict: 'error', message: 'Phase {id} has no name' },
  PHASE_NUMBER_MISSING: {
    lenient: 'error',
    strict: 'error',
    message: 'Phase {id} has no phase_number',
  },
  PHASE_NUMBER_INVALID: {
    lenient: 'error',
    strict: 'error',
    message: 'phase_number of phase {id} must be an integer from 1',
  },
  PHASE_NUMBER_DUP: {
    lenient: 'error',
    strict: 'error',
    message: 'phase_number {number} occurs twice',
  },
  DECISION_STATUS: {
    lenient: 'error',
    strict: 'error',
    message: 'The decision of phase {id} is none of pending, go, no-go',
  },
  DECIDED_AT_REQUIRED: {
    lenient: 'error',
    strict: 'error',
    message:
      'Phase {id} is decided, so decidedAt must be an ISO-8601 time with milliseconds in UTC',
  },
  DECIDED_AT_FORBIDDEN: {
    lenient: 'error',
    strict: 'error',
    message: 'Phase {id} is pending, so decidedAt must be null',
  },
  ARTIFACTS_INVALID: {
    lenient: 'error',
    strict: 'error',
    message: 'artifacts of phase {id} must be a list',
  },
  ARTIFACT_INVALID: { lenient: 'error', strict: 'error', message: 'The artifact is not an object' },
  ARTIFACT_ID_MISSING: {
    lenient: 'error',
    strict: 'error',
    message: 'An artifact of phase {id} has no id',
  },
  ARTIFACT_ID_DUP: { lenient: 'error', strict: 'error', message: 'Artifact id {id} occurs twice' },
  ARTIFACT_PHASE_ID_MISSING: {
    lenient: 'warning',
    strict: 'error',
    message: 'Artifact {id} has no phase_id; it would be that of its phase',
  },
  ARTIFACT_PHASE_MISMATCH: {
    lenient: 'error',
    strict: 'error',
    message: 'Artifact {id} stands in phase {phase} but names phase {named}',
  },
  TEMPLATE_ID_MISSING: {
    lenient: 'warning',
    strict: 'error',
    message: 'Artifact {id} has no template_id',
  },
  TEMPLATE_VERSION_MISSING: {
    lenient: 'warning',
    strict: 'error',
    message: 'Artifact {id} has no template_version',
  },
  /** Told by `verifyProject` only: a waiver that is too short is stored, but does not count. */
  WAIVER_SHORT: {
    lenient: 'warning',
    strict: 'warning',
    message: 'The waiver of artifact {id} has too short a rationale to count',
  },
  COMMENTS_INVALID: {
    lenient: 'error',
    strict: 'error',
    message: 'comments of artifact {id} must be a list',
  },
  COMMENT_RESOLVED_AT: {
    lenient: 'error',
    strict: 'error',
    message: 'A resolved comment of artifact {id} has no resolved_at',
  },
  COMMENT_RESOLVED_BY: {
    lenient: 'error',
    strict: 'error',
    message: 'A resolved comment of artifact {id} has no resolved_by',
  },
  COMMENT_ID_DUP: {
    lenient: 'off',
    strict: 'error',
    message: 'Comment id {id} occurs twice in one artifact',
  },
  AUDIT_ENTRY_INVALID: {
    lenient: 'error',
    strict: 'error',
    message: 'The audit entry is not an object',
  },
  AUDIT_PHASE_UNKNOWN: {
    lenient: 'error',
    strict: 'error',
    message: 'The audit entry names phase {id}, which is not in the project',
  },
  AUDIT_ARTIFACT_UNKNOWN: {
    lenient: 'error',
    strict: 'error',
    message: 'The audit entry names artifact {id}, which is not in the project',
  },
  AUDIT_SHORTENED: {
    lenient: 'error',
    strict: 'error',
    message: 'The audit log of the project here names {what}, which the new document does not hold',
  },
  IMMUTABLE_CHANGED: {
    lenient: 'error',
    strict: 'error',
    message: '{field} cannot change after creation',
  },
  NOT_CANONICAL: {
    lenient: 'error',
    strict: 'error',
    message: 'The document is not in canonical form: {count} differing paths',
  },
  PLAN_PROFILE_UNKNOWN: {
    lenient: 'warning',
    strict: 'warning',
    message: 'There is no plan profile {plan}; its rules are not checked',
  },
  PLAN_PROFILE_PHASE_COUNT: {
    lenient: 'error',
    strict: 'error',
    message: 'Plan {plan} has {wanted} phases; the project has {count}',
  },
  PLAN_PROFILE_PHASE_NUMBERS: {
    lenient: 'error',
    strict: 'error',
    message: 'Plan {plan} has phase numbers 1 to {wanted}, each once',
  },
  PLAN_PROFILE_PHASE_NAMES: {
    lenient: 'error',
    strict: 'error',
    message: 'The phases of plan {plan} are named otherwise',
  },
  PLAN_PROFILE_NAME_MISSING: {
    lenient: 'warning',
    strict: 'warning',
    message: 'Plan {plan} has a phase {name}; the project has none',
  },
  PLAN_PROFILE_NAME_EXTRA: {
    lenient: 'warning',
    strict: 'warning',
    message: 'Plan {plan} has no phase {name}',
  },
  PLAN_PROFILE_RULE: { lenient: 'warning', strict: 'warning', message: '{reason}' },
} as const satisfies Record<
  string,
  { lenient: Level | 'off'; strict: Level | 'off'; message: string }
>;

export type FindingCode = keyof typeof FINDINGS;

/** What was found in a document, where, and in words. */
export type Finding = {
  code: FindingCode;
  level: Level;
  /** As `$.phases[0].artifacts[2].phase_id`. */
  path: string;
  message: string;
  /** NOT_CANONICAL only: the first differing paths, and how many there are. */
  paths?: string[];
  count?: number;
};

/** Reading of a document. Strict is what programs get unless they ask for lenient. */
export type ReadMode = 'strict' | 'lenient';

/** A finding at its strict level. */
export function finding(
  code: FindingCode,
  path: string,
  params: Record<string, string | number> = {},
): Finding {
  const { strict, message } = FINDINGS[code];
  return { code, level: strict, path, message: fill(message, params) };
}

/** A finding at the level of `mode`, or undefined where that mode does not tell it. */
export function findingIn(mode: ReadMode, found: Finding): Finding | undefined {
  const level = FINDINGS[found.code][mode];
  return level === 'off' ? undefined : { ...found, level };
}

/** True if one of them is an error. */
export function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some(({ level }) => level === 'error');
}

/** Longest piece of the document that a message repeats. */
const QUOTE_CHARS = 80;

function fill(template: string, params: Record<string, string | number>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    if (!Object.hasOwn(params, name)) return whole;
    const text = String(params[name]);
    return text.length > QUOTE_CHARS ? `${text.slice(0, QUOTE_CHARS)}…` : text;
  });
}
