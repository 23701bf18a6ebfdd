/** The parts of JSON Schema that the page shows. */
export type Schema = {
  $ref?: string;
  type?: string | string[];
  description?: string;
  pattern?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
};

const DEPTH_MAX = 6;

/** Escapes text for HTML content and quoted attributes. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** Which fields are worth a mark: of a request the required ones, of an answer the optional. */
export type Mark = 'required' | 'optional';

/** The fields of an object schema as table rows, nested ones indented below their parent. */
function schemaRows(schema: Schema, mark: Mark, depth = 0): string {
  const properties = schema.properties ?? {};
  const required = new Set(schema.required);
  return Object.entries(properties)
    .map(([name, field]) => {
      const inner = depth < DEPTH_MAX ? nested(field) : undefined;
      const marked = required.has(name) === (mark === 'required');
      const need = marked ? `<b class="${mark}">${mark}</b>` : '';
      const row =
        `<tr><td style="--d:${depth}"><code>${escapeHtml(name)}</code> ${need}</td>` +
        `<td>${typeHtml(field)}</td><td>${escapeHtml(limitsText(field))}</td></tr>`;
      return row + (inner === undefined ? '' : schemaRows(inner, mark, depth + 1));
    })
    .join('');
}

/** Tables of a schema: one, or one for each alternative. */
export function schemaTable(schema: Schema, mark: Mark = 'required'): string {
  const options = schema.anyOf ?? schema.oneOf;
  if (options !== undefined)
    return options.map((one) => schemaTable(one, mark)).join('<p class="or">or</p>');
  const inner = schema.properties === undefined ? nested(schema) : schema;
  const head = schema.properties === undefined ? `<p>${typeHtml(schema)}</p>` : '';
  if (inner?.properties === undefined) return head;
  const open = inner.additionalProperties === false ? '' : '<p class="note">May carry more.</p>';
  return `${head}<table class="fields"><tbody>${schemaRows(inner, mark)}</tbody></table>${open}`;
}

/** A small valid-looking value: the required fields alone. */
export function sample(schema: Schema, name = 'value'): unknown {
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  const ref = refName(schema);
  if (ref !== undefined) return sampleOf(ref, name);
  const options = schema.oneOf ?? schema.anyOf;
  if (options?.[0] !== undefined) return sample(options[0], name);
  switch ([schema.type].flat()[0]) {
    case 'object': {
      const properties = schema.properties ?? {};
      const required = schema.required ?? [];
      return Object.fromEntries(required.map((key) => [key, sample(properties[key] ?? {}, key)]));
    }
    case 'array':
      return [];
    case 'integer':
    case 'number':
      return schema.minimum ?? 1;
    case 'boolean':
      return true;
    default:
      return sampleOf('string', name);
  }
}

function sampleOf(ref: string, name: string): unknown {
  if (ref === 'EventType') return 'PATROL_TICK';
  if (ref === 'OrderFile') return { order_id: 'order-1', type: 'draft', objective: 'Write a note' };
  if (name.endsWith('_id')) return `${name.slice(0, -3)}-1`;
  if (name === 'path' || ref === 'RelativePath') return 'README.md';
  return name.endsWith('_path') ? '/tmp/demo' : `a ${name}`;
}

function nested(schema: Schema): Schema | undefined {
  if (schema.properties !== undefined) return schema;
  const options = schema.anyOf ?? schema.oneOf;
  const found = options?.map(nested).find((option) => option !== undefined);
  return found ?? (schema.type === 'array' ? nested(schema.items ?? {}) : undefined);
}

function typeHtml(schema: Schema): string {
  const ref = refName(schema);
  if (ref !== undefined) return `<a href="#schema-${escapeHtml(ref)}">${escapeHtml(ref)}</a>`;
  const options = schema.anyOf ?? schema.oneOf;
  if (options !== undefined) return options.map(typeHtml).join(' or ');
  if (schema.const !== undefined) return `<code>${escapeHtml(JSON.stringify(schema.const))}</code>`;
  if (Array.isArray(schema.enum)) {
    return schema.enum.map((one) => `<code>${escapeHtml(String(one))}</code>`).join(' ');
  }
  if (schema.type === 'array') return `list: ${typeHtml(schema.items ?? {})}`;
  if (schema.type === 'object' && schema.properties === undefined) {
    const values = schema.additionalProperties;
    return typeof values === 'object' && Object.keys(values).length > 0
      ? `map: ${typeHtml(values)}`
      : 'object';
  }
  return escapeHtml([schema.type ?? 'any'].flat().join(' or '));
}

function limitsText(schema: Schema): string {
  const parts: string[] = [];
  const say = (
    key: 'minimum' | 'maximum' | 'exclusiveMinimum' | 'minLength' | 'default',
    text: string,
  ): void => {
    if (schema[key] !== undefined) parts.push(`${text} ${valueText(schema[key])}`);
  };
  if (schema.description !== undefined) parts.push(schema.description);
  say('minimum', 'from');
  if (schema.maximum !== Number.MAX_SAFE_INTEGER) say('maximum', 'to');
  say('exclusiveMinimum', 'above');
  say('minLength', 'at least');
  if (schema.maxLength !== undefined) parts.push(`up to ${valueText(schema.maxLength)} characters`);
  if (schema.maxItems !== undefined) parts.push(`up to ${valueText(schema.maxItems)} items`);
  say('default', 'default');
  return parts.join(', ');
}

function valueText(value: unknown): string {
  return typeof value === 'number' ? value.toLocaleString('en') : JSON.stringify(value);
}

function refName(schema: Schema): string | undefined {
  return schema.$ref?.split('/').at(-1);
}
