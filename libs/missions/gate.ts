import { AppError, type ContractShape, contractShape } from '#libs/contracts';
import { isObject } from './result.ts';

/** Where the contract is enforced; it stands in every violation. */
export type GateContext =
  | 'start'
  | 'emit'
  | 'publish'
  | 'consume'
  | 'replay'
  | 'reduce'
  | 'http in'
  | 'http out'
  | 'body queue'
  | 'body upload'
  | 'tracker'
  | 'cli in'
  | 'cli out';

/** What a program offers, checked once when it starts. */
export type Surface = {
  commands: readonly string[];
  /** The flag that selects a mission. */
  missionFlag: string;
  /** Every flag of every command, with its dashes. */
  flags: readonly string[];
  errorCodes: readonly string[];
};

/** Names that we have agreed on beyond the shape's allow lists. A forbidden name stays forbidden. */
export type Extensions = { commands?: readonly string[]; errorCodes?: readonly string[] };

/**
 * The compatibility gate: every section of the shape, compiled. Each check returns nothing or
 * throws, before the side effect that it guards.
 * @throws {CONTRACT_VIOLATION} `field` and `details.{context, field, reason}` say what and where
 */
export type Gate = {
  envelope(context: GateContext, event: unknown): void;
  body(context: GateContext, upload: unknown): void;
  tracker(context: GateContext, identity: unknown): void;
  surface(surface: Surface): void;
  command(context: GateContext, name: string): void;
  flag(context: GateContext, name: string): void;
  /** One answer of a command: its code, and its data where it names a mission. */
  answer(context: GateContext, answer: Answer): void;
};

type Answer = { error_code: string | null; data: unknown; namesMission: boolean };
type Fields = Readonly<Record<string, unknown>>;
type Check = (context: GateContext, fields: Fields, at: string) => void;

/** Aggregates whose events belong to no mission's board and need not carry its three fields. */
const UNSCOPED: ReadonlySet<unknown> = new Set(['Build', 'MissionDossier']);

/**
 * Compiles a shape. It is done once; a check then takes microseconds (`npm run bench -- gate`).
 * @throws {CONTRACT_SHAPE_UNUSABLE} it is no such shape
 * @param path named in that error
 */
export function compileGate(shape: unknown, extensions: Extensions = {}, path = 'given'): Gate {
  const read = contractShape.safeParse(shape);
  if (!read.success) {
    const issue = read.error.issues[0];
    const reason = `${issue?.path.join('.')}: ${issue?.message}`;
    throw new AppError('CONTRACT_SHAPE_UNUSABLE', { path, reason });
  }
  const { body_sync, tracker_bind, orchestrator_api } = read.data;
  const body = fieldCheck(body_sync);
  const tracker = fieldCheck(tracker_bind);
  return {
    envelope: envelopeCheck(read.data),
    body: (context, upload) => body(context, needObject(context, upload, 'body'), ''),
    tracker: (context, identity) =>
      tracker(context, needObject(context, identity, 'project_identity'), 'project_identity.'),
    ...surfaceChecks(orchestrator_api, extensions),
  };
}

function envelopeCheck({ envelope, payload }: ContractShape): Gate['envelope'] {
  const top = fieldCheck(envelope);
  const forbiddenInside = fieldCheck({ ...payload.mission_scoped, required_fields: [] });
  const scoped = fieldCheck(payload.mission_scoped);
  const aggregates = nameCheck(envelope.aggregate_type);
  const version = envelope.schema_version.value;
  return (context, event) => {
    const fields = needObject(context, event, 'event');
    top(context, fields, '');
    aggregates(context, 'aggregate_type', fields.aggregate_type);
    if (fields.schema_version !== version) {
      throw violation(context, 'schema_version', `must be ${version}`);
    }
    const inner = needObject(context, fields.payload, 'payload');
    const check = UNSCOPED.has(fields.aggregate_type) ? forbiddenInside : scoped;
    check(context, inner, 'payload.');
  };
}

type Api = ContractShape['orchestrator_api'];

function surfaceChecks(api: Api, extensions: Extensions) {
  const commands = nameCheck({
    allowed: [...api.allowed_commands, ...(extensions.commands ?? [])],
    forbidden: api.forbidden_commands,
  });
  const codes = nameCheck({
    allowed: [...api.allowed_error_codes, ...(extensions.errorCodes ?? [])],
    forbidden: api.forbidden_error_codes,
  });
  const missionFlags = nameCheck({
    allowed: api.allowed_cli_flags,
    forbidden: api.forbidden_cli_flags,
  });
  const inData = fieldCheck({
    required_fields: api.required_payload_fields,
    forbidden_fields: api.forbidden_payload_fields,
  });
  const neverInData = fieldCheck({
    required_fields: [],
    forbidden_fields: api.forbidden_payload_fields,
  });
  const forbiddenFlags = new Set(api.forbidden_cli_flags);
  const command: Gate['command'] = (context, name) => commands(context, 'command', name);
  const flag: Gate['flag'] = (context, name) => {
    if (forbiddenFlags.has(name)) throw violation(context, name, 'is forbidden');
  };
  const surface: Gate['surface'] = (offered) => {
    for (const name of api.allowed_commands) {
      if (!offered.commands.includes(name)) throw violation('start', name, 'is not offered');
    }
    for (const name of offered.commands) command('start', name);
    missionFlags('start', offered.missionFlag, offered.missionFlag);
    for (const name of offered.flags) flag('start', name);
    for (const code of offered.errorCodes) codes('start', code, code);
  };
  const answer: Gate['answer'] = (context, { error_code, data, namesMission }) => {
    if (error_code !== null) codes(context, 'error_code', error_code);
    const check = namesMission ? inData : neverInData;
    check(context, needObject(context, data, 'data'), 'data.');
  };
  return { command, flag, surface, answer };
}

/** Required: there and not empty. Forbidden: not there at all, whatever its value. */
function fieldCheck(rules: {
  required_fields: readonly string[];
  forbidden_fields: readonly string[];
}): Check {
  const { required_fields: required, forbidden_fields: forbidden } = rules;
  return (context, fields, at) => {
    for (const name of forbidden) {
      if (Object.hasOwn(fields, name)) throw violation(context, at + name, 'is forbidden');
    }
    for (const name of required) {
      const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
      if (value === undefined) throw violation(context, at + name, 'is required');
      if (isEmpty(value)) throw violation(context, at + name, 'must not be empty');
    }
  };
}

function nameCheck(rules: { allowed: readonly string[]; forbidden: readonly string[] }) {
  const allowed = new Set<unknown>(rules.allowed);
  const forbidden = new Set<unknown>(rules.forbidden);
  return (context: GateContext, field: string, value: unknown): void => {
    if (forbidden.has(value)) throw violation(context, field, `${String(value)} is forbidden`);
    if (!allowed.has(value)) throw violation(context, field, `${String(value)} is not allowed`);
  };
}

function isEmpty(value: unknown): boolean {
  return value === null || (typeof value === 'string' && value.trim() === '');
}

function needObject(context: GateContext, value: unknown, field: string): Fields {
  if (isObject(value)) return value;
  throw violation(context, field, 'must be an object');
}

function violation(context: GateContext, field: string, reason: string): AppError {
  const clipped = reason.slice(0, 200);
  return new AppError(
    'CONTRACT_VIOLATION',
    { context, field, reason: clipped },
    { field, details: { context, field, reason: clipped } },
  );
}
