import { createHash } from 'node:crypto';
import { ERRORS } from '#libs/contracts';
import { SCRIPT, STYLE } from './docs-assets.ts';
import { escapeHtml, sample, type Schema, schemaTable } from './docs-schema.ts';
import type { OpenApiDocument, OpenApiOperation } from './openapi.ts';

type Parameter = { name: string; in: string; required: boolean; schema: Schema };

/** Lets the page run its own style and script, and nothing else. */
export const DOCS_CSP =
  `default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; ` +
  `style-src 'unsafe-inline'; script-src '${digest(SCRIPT)}'`;

/** The document as one HTML page that needs nothing else. */
export function docsPage(document: OpenApiDocument): string {
  const { title, version } = document.info as { title: string; version: string };
  const byRole = document.tags.map(({ name }) => ({
    name,
    operations: operationsOf(document, name),
  }));
  const links = [...byRole.map(({ name }) => name), 'schemas', 'errors']
    .map((name) => `<li><a href="#${name}">${name}</a></li>`)
    .join('');
  const sections = byRole
    .map(({ name, operations }) => section(name, operations.map(operationHtml).join('')))
    .join('');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} API</title><style>${STYLE}</style></head>
<body><div class="page"><nav><h1>${escapeHtml(title)} API</h1>
<div class="what">${escapeHtml(version)}</div>
<input type="search" placeholder="Filter" aria-label="Filter">
<ul>${links}</ul><a href="openapi.json">openapi.json</a></nav>
<main>${intro()}${sections}${section('schemas', schemas(document))}${section('errors', errors())}
</main></div><script>${SCRIPT}</script></body></html>
`;
}

type Listed = { path: string; method: string; operation: OpenApiOperation };

function operationsOf(document: OpenApiDocument, tag: string): Listed[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation.tags.includes(tag))
      .map(([method, operation]) => ({ path, method, operation })),
  );
}

function intro(): string {
  return (
    '<p>Every answer is <code>{"ok", "data", "error"}</code>: <code>data</code> as told below ' +
    'where <code>ok</code> is true, else <code>error.code</code> from the table of errors. ' +
    'Over NATS the same operations are requests whose message is one JSON object of all inputs.</p>'
  );
}

function section(id: string, content: string): string {
  return `<section><h2 id="${id}">${id}</h2>${content}</section>`;
}

function operationHtml({ path, method, operation }: Listed): string {
  const { operationId, summary, responses } = operation;
  const subject = operation['x-subject'] as string | null;
  const text = `${method} ${path} ${operationId} ${summary}`.toLowerCase();
  const scope = `Scope: <code>${escapeHtml(String(operation['x-scope']))}</code>`;
  const nats = subject === null ? '' : ` · NATS subject: <code>${escapeHtml(subject)}</code>`;
  return `<details id="${escapeHtml(operationId)}" data-text="${escapeHtml(text)}">
<summary><span class="method ${method}">${method.toUpperCase()}</span>
<code class="path">${escapeHtml(path)}</code>
<span class="what">${escapeHtml(summary)}</span></summary>
<div class="inside"><p class="note">${scope}${nats}</p>
${parametersHtml(operation)}${bodyHtml(operation)}
<h3>Try it</h3><pre><code>${curl(path, method, operation)}</code></pre>
${answersHtml(responses)}</div></details>`;
}

function parametersHtml(operation: OpenApiOperation): string {
  const parameters = (operation.parameters ?? []) as Parameter[];
  if (parameters.length === 0) return '';
  const properties = Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]));
  const required = parameters.filter((one) => one.required).map((one) => one.name);
  const table = schemaTable({ properties, required, additionalProperties: false });
  return `<h3>In the path and query</h3>${table}`;
}

function bodyHtml(operation: OpenApiOperation): string {
  const schema = bodySchema(operation);
  return schema === undefined ? '' : `<h3>Body</h3>${schemaTable(schema)}`;
}

function bodySchema(operation: OpenApiOperation): Schema | undefined {
  const body = operation.requestBody as { content: Record<string, { schema: Schema }> } | undefined;
  return body?.content['application/json']?.schema;
}

function answersHtml(responses: OpenApiOperation['responses']): string {
  const good = Object.entries(responses).find(([status]) => status.startsWith('2'));
  const content = good?.[1].content as Record<string, { schema: Schema }> | undefined;
  const json = content?.['application/json']?.schema.properties as
    | Record<string, Schema>
    | undefined;
  const data = json?.data ?? content?.['text/event-stream']?.schema ?? {};
  const bad = Object.entries(responses).filter(([status]) => !status.startsWith('2'));
  const rows = bad
    .map(([status, response]) => {
      const codes = String(response.description).split(', ');
      const links = codes.map((code) => `<a href="#error-${code}">${code}</a>`).join(', ');
      return `<tr><td>${status}</td><td>${links}</td></tr>`;
    })
    .join('');
  const kind = json === undefined ? 'data of each event' : 'data';
  const statuses = Object.keys(responses).filter((status) => status.startsWith('2'));
  return `<h3>Answer ${statuses.join(' or ')}: ${kind}</h3>${schemaTable(data, 'optional')}
<h3>Errors</h3><table><tbody>${rows}</tbody></table>`;
}

function curl(path: string, method: string, operation: OpenApiOperation): string {
  const parameters = (operation.parameters ?? []) as Parameter[];
  const url = path.replace(/\{(\w+)\}/g, (_, name: string) => String(sample({}, name)));
  const needed = parameters.filter((one) => one.in === 'query' && one.required);
  const search = needed
    .map((one) => `${one.name}=${String(sample(one.schema, one.name))}`)
    .join('&');
  const schema = bodySchema(operation);
  const body = schema && JSON.stringify(sample(schema));
  const parts = [
    `curl -s${operation['x-subject'] === null ? 'N' : ''}`,
    method === 'get' ? '' : `-X ${method.toUpperCase()}`,
    `'<span data-origin>http://127.0.0.1:8080</span>${escapeHtml(url + (search && `?${search}`))}'`,
    body === undefined ? '' : `-H 'content-type: application/json' -d '${escapeHtml(body)}'`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

function schemas(document: OpenApiDocument): string {
  return Object.entries(document.components.schemas)
    .map(([name, schema]) => {
      const { description } = schema as Schema;
      const note = description === undefined ? '' : `<p>${escapeHtml(description)}</p>`;
      return `<details id="schema-${escapeHtml(name)}" data-text="${escapeHtml(name.toLowerCase())}">
<summary><code class="path">${escapeHtml(name)}</code></summary>
<div class="inside">${note}${schemaHtml(schema as Schema)}</div></details>`;
    })
    .join('');
}

function schemaHtml(schema: Schema): string {
  const { pattern } = schema;
  const must = pattern === undefined ? '' : `<p>Matches <code>${escapeHtml(pattern)}</code></p>`;
  return schemaTable(schema) + must;
}

function errors(): string {
  const rows = Object.entries(ERRORS)
    .map(
      ([code, entry]) => `<tr id="error-${code}" data-text="${code.toLowerCase()}">
<td><code>${code}</code></td><td>${entry.status}</td><td>${entry.retry}</td>
<td>${escapeHtml(entry.message)}<div class="note">${escapeHtml(entry.fix)}</div></td></tr>`,
    )
    .join('');
  return `<table><thead><tr><th>Code</th><th>Status</th><th>Retry</th><th>Meaning</th></tr></thead>
<tbody>${rows}</tbody></table>`;
}

function digest(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
