import {
  COMMON_ERRORS,
  commitSha,
  constraints,
  type Endpoint,
  ERRORS,
  type ErrorCode,
  EVENT_TYPES,
  errorBodySchema,
  eventInput,
  id,
  orderFile,
  pathParams,
  relativePath,
  storedEvent,
  timestamp,
} from '#libs/contracts';
import { z } from 'zod';
import { documentedPath, type Mount, rootRole } from './routes.ts';

type Json = Record<string, unknown>;

/** An OpenAPI 3.1 document; its schemas are JSON Schema draft 2020-12. */
export type OpenApiDocument = {
  openapi: string;
  info: Json;
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, OpenApiOperation>>;
  components: Json & { schemas: Json };
};

export type OpenApiOperation = Json & {
  operationId: string;
  summary: string;
  tags: string[];
  responses: Record<string, Json>;
};

const REF = '#/components/schemas/';

/** The OpenAPI document of these endpoints, at the paths where `mount` serves them. */
export function openApiDocument(
  endpoints: readonly Endpoint[],
  options: { version: string; mount: Mount },
): OpenApiDocument {
  const roles = [...new Set(endpoints.map((endpoint) => endpoint.role))];
  const root = rootRole(roles, options.mount);
  const paths: OpenApiDocument['paths'] = {};
  for (const endpoint of endpoints) {
    const path = documentedPath(endpoint, root);
    paths[path] ??= {};
    paths[path][endpoint.method.toLowerCase()] = operation(endpoint);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'IronClaw',
      version: options.version,
      description:
        'Every answer but those of outside contracts is `{ok, data, error}`. Over NATS the same ' +
        'operations are requests on ' +
        '`svc.v1.<role>.<name>` whose message is one JSON object of all inputs.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    tags: roles.map((role) => ({ name: role, description: `Endpoints of the ${role} role` })),
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token of IRONCLAW_TOKENS. On loopback without tokens none is needed.',
        },
      },
      schemas: sharedSchemas(),
    },
  };
}

/** Shapes that many endpoints use: told once, and referred to by name. */
const SHARED = new Map<unknown, string>([
  [id, 'Id'],
  [timestamp, 'Timestamp'],
  [commitSha, 'CommitSha'],
  [relativePath, 'RelativePath'],
  [eventInput.shape.type, 'EventType'],
  [storedEvent, 'StoredEvent'],
  [orderFile, 'OrderFile'],
  [constraints, 'Constraints'],
  [errorBodySchema, 'Error'],
]);

/** JSON Schema of a zod schema; `input`: what may be sent, `output`: what is answered. */
function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io,
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema: json }) {
      const nested: unknown = zodSchema;
      const name = nested === schema ? undefined : SHARED.get(nested);
      if (name === undefined) return;
      for (const key of Object.keys(json)) delete json[key as keyof typeof json];
      json.$ref = REF + name;
    },
  }) as Json;
  return rest;
}

function operation(endpoint: Endpoint): OpenApiOperation {
  const input = jsonSchema(endpoint.input, 'input');
  const properties = { ...(input.properties as Record<string, Json>) };
  const required = new Set((input.required as string[] | undefined) ?? []);
  const take = (place: 'path' | 'query') => (name: string) => {
    const schema = properties[name] ?? {};
    delete properties[name];
    const needed = required.delete(name) || place === 'path';
    return { name, in: place, required: needed, schema };
  };
  const parameters = [
    ...pathParams(endpoint.path).map(take('path')),
    ...endpoint.query.map(take('query')),
    ...(endpoint.outside?.headers ?? []).map((name) => ({
      name,
      in: 'header',
      required: false,
      schema: { type: 'string' },
    })),
  ];
  const body = { ...input, properties, required: [...required] };
  const hasBody = endpoint.method !== 'GET' && Object.keys(properties).length > 0;
  return {
    operationId: `${endpoint.role}.${endpoint.name}`,
    summary: endpoint.summary,
    tags: [endpoint.role],
    ...(parameters.length > 0 && { parameters }),
    ...(hasBody && { requestBody: requestBody(endpoint, body) }),
    responses: responses(endpoint),
    security: endpoint.scope === 'public' ? [] : [{ bearer: [] }],
    'x-scope': endpoint.scope,
    'x-subject': endpoint.live ? null : `svc.v1.${endpoint.role}.${endpoint.name}`,
    'x-max-body-bytes': endpoint.maxBodyBytes,
  };
}

function requestBody(endpoint: Endpoint, body: Json & { required: string[] }): Json {
  const { required, ...rest } = body;
  const object = required.length > 0 ? { ...rest, required } : rest;
  const list = endpoint.bareArray && (rest.properties as Record<string, Json>)[endpoint.bareArray];
  const schema = list ? { oneOf: [object, list] } : object;
  return { required: required.length > 0, content: { 'application/json': { schema } } };
}

function responses(endpoint: Endpoint): Record<string, Json> {
  const data = jsonSchema(endpoint.data, 'output');
  const success = endpoint.live
    ? { description: 'Server-sent events', content: { 'text/event-stream': { schema: data } } }
    : {
        description: endpoint.summary,
        headers: { 'X-Request-Id': { schema: { type: 'string' } } },
        content: { 'application/json': { schema: endpoint.outside ? data : okEnvelope(data) } },
      };
  const table: Record<string, Json> = { [endpoint.status]: success };
  // A repeated create answers what is there, as 200.
  if (endpoint.status === 201) table[200] = { ...success, description: 'It was there before' };
  for (const [status, codes] of codesByStatus(endpoint)) {
    table[status] = {
      description: codes.join(', '),
      ...(status === 429 && { headers: { 'Retry-After': { schema: { type: 'integer' } } } }),
      content: { 'application/json': { schema: errorShape(endpoint, codes) } },
    };
  }
  return table;
}

function codesByStatus(endpoint: Endpoint): [number, ErrorCode[]][] {
  const groups = new Map<number, ErrorCode[]>();
  for (const code of new Set([...endpoint.errors, ...COMMON_ERRORS])) {
    const { status } = ERRORS[code];
    groups.set(status, [...(groups.get(status) ?? []), code]);
  }
  return [...groups].sort(([a], [b]) => a - b);
}

function okEnvelope(data: Json): Json {
  return {
    type: 'object',
    properties: { ok: { const: true }, data, error: { type: 'null' } },
    required: ['ok', 'data', 'error'],
  };
}

function errorShape({ outside }: Endpoint, codes: readonly ErrorCode[]): Json {
  return outside ? jsonSchema(outside.error, 'output') : errorEnvelope(codes);
}

function errorEnvelope(codes: readonly ErrorCode[]): Json {
  return {
    allOf: [
      { $ref: `${REF}ErrorEnvelope` },
      { properties: { error: { properties: { code: { enum: codes } } } } },
    ],
  };
}

function sharedSchemas(): Json {
  const names = Object.keys(EVENT_TYPES);
  const schemas: Json = {
    ErrorEnvelope: {
      type: 'object',
      properties: {
        ok: { const: false },
        data: { type: 'null' },
        error: { $ref: `${REF}Error` },
      },
      required: ['ok', 'data', 'error'],
    },
  };
  for (const [schema, name] of SHARED) {
    schemas[name] = jsonSchema(schema as z.ZodType, name === 'StoredEvent' ? 'output' : 'input');
  }
  schemas.EventType = {
    type: 'string',
    enum: names,
    description: 'The payload of each type is the schema payload.<TYPE>.',
  };
  for (const [name, entry] of Object.entries(EVENT_TYPES)) {
    const needs = entry.needs.length === 0 ? 'none' : entry.needs.join(', ');
    const extension = 'extension' in entry ? ' An extension.' : '';
    schemas[`payload.${name}`] = {
      ...jsonSchema(entry.payload, 'input'),
      description: `Payload of ${name}. Ids that may not be null: ${needs}.${extension}`,
    };
  }
  return schemas;
}
