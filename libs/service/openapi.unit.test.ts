import { ENDPOINTS, EVENT_TYPES, jobMessage, parse, pathParams } from '#libs/contracts';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { docsPage } from './docs-page.ts';
import { openApiDocument } from './openapi.ts';
import { ask, fakeService, testServer } from './testkit.ts';

const document = openApiDocument(ENDPOINTS, { version: '1.2.3', mount: 'gateway' });
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);
const ajv = new Ajv2020({ strict: false, validateFormats: false, useDefaults: false });
ajv.addSchema(document, 'doc');

/** Compiles the schema at a JSON pointer of the document. */
function validator(...pointer: string[]) {
  const path = pointer.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
  return ajv.compile({ $ref: `doc#/${path}` });
}

describe('the document', () => {
  test('has every endpoint once', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids)).toEqual(new Set(ENDPOINTS.map((one) => `${one.role}.${one.name}`)));
    expect(ids).toHaveLength(ENDPOINTS.length);
  });

  test('refers only to what it holds', () => {
    const text = JSON.stringify(document);
    const names = [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map((m) => m[1]);
    expect(names.length).toBeGreaterThan(50);
    for (const name of names) expect(document.components.schemas).toHaveProperty([name as string]);
    expect(text).not.toContain('"$schema"');
  });

  test.each(operations)('$method $path can be compiled and declares its path', (one) => {
    const { path, method, operation } = one;
    const parameters = (operation.parameters ?? []) as { name: string; in: string }[];
    const inPath = parameters.filter((each) => each.in === 'path').map((each) => each.name);
    expect(inPath).toEqual(pathParams(path));
    for (const [index] of parameters.entries()) {
      validator('paths', path, method, 'parameters', String(index), 'schema');
    }
    const media = 'application/json';
    if (operation.requestBody) {
      validator('paths', path, method, 'requestBody', 'content', media, 'schema');
    }
    for (const [status, response] of Object.entries(operation.responses)) {
      const [type = media] = Object.keys(response.content as object);
      validator('paths', path, method, 'responses', status, 'content', type, 'schema');
    }
  });

  test('has the payload of every event type', () => {
    for (const name of Object.keys(EVENT_TYPES)) {
      const validate = validator('components', 'schemas', `payload.${name}`);
      expect(validate({ anything_else: 1 })).toBe(true);
      expect(validate('text')).toBe(false);
    }
  });

  test('groups the errors of an endpoint by status', () => {
    const plan = document.paths['/co/runs/{run_id}/plan']?.post;
    expect(plan?.responses['409']?.description).toBe('RUN_NOT_OPEN, PLAN_REFUSED');
    expect(plan?.responses['404']?.description).toBe('RUN_NOT_FOUND');
    const answer = ['paths', '/co/runs/{run_id}/plan', 'post', 'responses', '409'];
    const validate = validator(...answer, 'content', 'application/json', 'schema');
    const body = (code: string) => ({ ok: false, data: null, error: { code, message: 'x' } });
    expect(validate(body('RUN_NOT_OPEN'))).toBe(true);
    expect(validate(body('RUN_NOT_FOUND'))).toBe(false);
  });
});

describe('JSON Schema and zod agree', () => {
  const cases: [string, string, string, unknown[]][] = [
    [
      'gateway',
      'chat',
      '/chat',
      [
        { message: 'hi' },
        { message: 'hi', mode: 'later' },
        { message: 'hi', wait_ms: -1 },
        { message: 'hi', extra: 1 },
        { message: 'hi', inputs: [{ name: 'a', text: 'b' }] },
        { message: 1 },
        {},
      ],
    ],
    [
      'ledger',
      'append',
      '/ledger/events',
      [
        { type: 'PATROL_TICK' },
        { type: 'PATROL_TICK', run_id: null, ts: '2026-01-14T16:21:00Z' },
        { type: 'PATROL_TICK', run_id: '../x' },
        { type: 'PATROL_TICK', run_id: '_' },
        { type: 'PATROL_TICK', ts: 'yesterday' },
        { type: 'PATROL_TICK', payload: 'text' },
        { payload: {} },
      ],
    ],
    [
      'vault',
      'prepare-worktree',
      '/vault/worktrees/{order_id}/prepare',
      [
        { order: { order_id: 'o', type: 't', objective: 'x' } },
        { order: { order_id: 'o', type: 't', objective: '' } },
        { order: { order_id: 'o', type: 't', objective: 'x', constraints: { max_retries: 11 } } },
        { order: {}, inputs: [] },
      ],
    ],
  ];

  test.each(cases)('%s.%s', (role, name, path, bodies) => {
    const endpoint = ENDPOINTS.find((one) => one.role === role && one.name === name);
    const media = 'application/json';
    const validate = validator('paths', path, 'post', 'requestBody', 'content', media, 'schema');
    const inPath = Object.fromEntries(pathParams(path).map((param) => [param, 'o']));
    const verdicts = bodies.map((body) => {
      const zod = endpoint?.input.safeParse({ ...(body as object), ...inPath }).success;
      expect({ body, valid: validate(body) }).toEqual({ body, valid: zod });
      return zod;
    });
    expect(verdicts).toContain(true);
    expect(verdicts).toContain(false);
  });

  test('for a shape with defaults', () => {
    const media = 'application/json';
    const pointer = ['paths', '/worker/jobs', 'post', 'requestBody', 'content', media, 'schema'];
    const validate = validator(...pointer);
    const job = { order_id: 'o', theater_id: 't', worktree_path: '/w' };
    expect(validate(job)).toBe(true);
    expect(parse(jobMessage, job)).toMatchObject({ attempt: 1 });
    expect(validate({ ...job, attempt: 0 })).toBe(false);
  });
});

describe('the page', () => {
  const html = docsPage(document);

  test('shows every operation and its links lead somewhere', () => {
    for (const { path, operation } of operations) {
      expect(html).toContain(`id="${operation.operationId}"`);
      expect(html).toContain(path);
    }
    const ids = new Set([...html.matchAll(/ id="([^"]+)"/g)].map((match) => match[1]));
    for (const [, target] of html.matchAll(/href="#([^"]+)"/g)) expect(ids).toContain(target);
  });

  test('needs nothing from elsewhere', () => {
    expect(html).not.toMatch(/<(script|link|img)[^>]+(src|href)=/);
  });

  test('escapes what it shows', () => {
    const nasty = openApiDocument(
      ENDPOINTS.slice(0, 1).map((one) => ({ ...one, summary: '<script>alert(1)</script>' })),
      { version: '"><b>', mount: 'root' },
    );
    const page = docsPage(nasty);
    expect(page).not.toContain('<script>alert');
    expect(page).not.toContain('"><b>');
  });
});

test('both are served, told for what is served', async () => {
  await using server = await testServer({ services: [fakeService('co')] });
  const served = (await ask(`${server.url}/openapi.json`)).body as unknown as typeof document;
  expect(Object.keys(served.paths)).toContain('/runs/{run_id}/plan');
  expect(Object.keys(served.paths)).not.toContain('/chat');
  const page = await fetch(`${server.url}/docs`);
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect((await ask(`${server.url}/docs`, { method: 'POST' })).status).toBe(405);
});
