/** Names of log fields whose values are never written. */
const SECRET_FIELDS = [
  'authorization',
  'Authorization',
  'proxy-authorization',
  'cookie',
  'api_key',
  'apiKey',
  'api-key',
  'x-api-key',
  'token',
  'password',
  'pass',
  'secret',
  'IO_INTELLIGENCE_API_KEY',
  'OPENAI_API_KEY',
  'NATS_TOKEN',
  'NATS_PASSWORD',
] as const;

export const REDACTED = '[redacted]';

/** Paths for pino: each secret field at the top and up to two objects deep. */
export function redactPaths(): string[] {
  return SECRET_FIELDS.flatMap((name) => {
    const key = `["${name}"]`;
    return [key, `*${key}`, `*.*${key}`];
  });
}

const IN_TEXT: readonly [RegExp, string][] = [
  // Authorization headers that found their way into an error's message.
  [/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi, `$1 ${REDACTED}`],
  // Keys of model providers, by their usual prefixes.
  [/\b(sk-|io-v\d+-)[A-Za-z0-9_-]{16,}/g, `$1${REDACTED}`],
  // User and password of a URL.
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s/@"\\:]+:[^\s/@"\\]+@/gi, `$1${REDACTED}@`],
];

/** Takes bearer tokens, provider keys and URL passwords out of a text. */
export function redactText(text: string): string {
  return IN_TEXT.reduce((clean, [pattern, by]) => clean.replace(pattern, by), text);
}
