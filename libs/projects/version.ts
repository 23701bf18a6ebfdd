import { isObject } from './text.ts';

/**
 * The schema version a document states: `meta.schema_version`, then `schema_version`, then the
 * number `schemaVersion`, else "0". Told as it is found: " 1 " and "1.0" are not "1".
 */
export function detectVersion(document: unknown): string {
  if (!isObject(document)) return '0';
  const meta = isObject(document.meta) ? document.meta.schema_version : undefined;
  if (typeof meta === 'string' && meta !== '') return meta;
  // What is no text is no version: it must not pass for the version it looks like.
  if (meta != null && meta !== '' && meta !== false && meta !== 0) return `(${typeof meta})`;
  if (typeof document.schema_version === 'string') return document.schema_version;
  if (typeof document.schemaVersion === 'number') return String(document.schemaVersion);
  return '0';
}
