import { type Endpoint, invalid } from '#libs/contracts';

/**
 * Makes the one input object of an endpoint from the parts of an HTTP request.
 * @param search the query string, without `?`
 * @throws {INVALID_REQUEST} a query key that is unknown, repeated or empty; a body that is not an
 *   object, or that contradicts the path
 */
export function mergeInput(
  endpoint: Endpoint,
  params: Readonly<Record<string, string>>,
  search: string,
  body: unknown,
): unknown {
  const query = search === '' ? undefined : parseQuery(endpoint, search);
  const given = readBody(endpoint, body);
  const names = Object.keys(params);
  if (names.length === 0 && query === undefined) return given;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid('body', 'must be a JSON object');
  }
  const fields = given as Record<string, unknown>;
  for (const name of names) {
    if (Object.hasOwn(fields, name) && fields[name] !== params[name]) {
      throw invalid(name, 'differs from the one in the path');
    }
  }
  for (const name of Object.keys(query ?? {})) {
    if (Object.hasOwn(fields, name)) throw invalid(name, 'is in the query and in the body');
  }
  // Spreading copies own keys as they are: `__proto__` stays a key, for the check that refuses it.
  return { ...fields, ...query, ...params };
}

function readBody(endpoint: Endpoint, body: unknown): unknown {
  if (body === undefined) return {};
  if (endpoint.bareArray !== undefined && Array.isArray(body))
    return { [endpoint.bareArray]: body };
  return body;
}

function parseQuery(endpoint: Endpoint, search: string): Record<string, string> {
  const query: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(search)) {
    if (!endpoint.query.includes(name)) {
      const known = endpoint.query.length === 0 ? 'none' : endpoint.query.join(', ');
      throw invalid(name, `is not a query parameter here; known: ${known}`);
    }
    if (Object.hasOwn(query, name)) throw invalid(name, 'is given twice');
    if (value === '') throw invalid(name, 'is empty');
    query[name] = value;
  }
  return query;
}
