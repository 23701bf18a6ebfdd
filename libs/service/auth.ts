import { hash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { AppError, invalid, parse, type Scope } from '#libs/contracts';
import { z } from 'zod';

const TOKENS_MAX = 1_000;
const scopes = ['read', 'operate', 'ingest', 'admin'] as const;

const tokenEntry = z.strictObject({
  /** Who uses it; stands in logs. */
  name: z.string().regex(/^[A-Za-z0-9_.@-]{1,128}$/, 'must be 1 to 128 of A-Z a-z 0-9 _ . @ -'),
  /** Hex SHA-256 of the token; the token itself is kept nowhere. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits'),
  scopes: z.array(z.enum(scopes)).min(1),
});

export type Token = z.output<typeof tokenEntry>;
export type Auth = { readonly tokens: readonly Token[] };

/** Who calls, and what they may do. */
export type Principal = { readonly name: string; readonly scopes: ReadonlySet<Scope> };

/** What IRONCLAW_TOKENS keeps of a token: the hex SHA-256 of its text. */
export function tokenHash(token: string): string {
  return hash('sha256', token, 'hex');
}

/**
 * Reads IRONCLAW_TOKENS: a JSON array of `{name, scopes, sha256}`, or lines of
 * `name:scope,scope:sha256`, given directly or as the path of a file. Unset: null.
 * @throws {INVALID_REQUEST} it cannot be read or is not of that form; names IRONCLAW_TOKENS
 */
export async function authFromEnv(env: Record<string, string | undefined>): Promise<Auth | null> {
  const value = env.IRONCLAW_TOKENS?.trim();
  if (value === undefined || value === '') return null;
  const inline = value.startsWith('[') || /^[^:/\\]+:[^:]*:[0-9a-f]{64}/.test(value);
  const text = inline ? value : await readTokensFile(value);
  const entries = text.startsWith('[') ? parseJson(text) : parseLines(text);
  const tokens = parse(z.array(tokenEntry).min(1).max(TOKENS_MAX), entries, 'IRONCLAW_TOKENS');
  return { tokens };
}

/** Compiles the tokens into a function from an Authorization header to its principal. */
export function authenticator(auth: Auth): (header: string | undefined) => Principal {
  const known = auth.tokens.map((token) => ({
    digest: Buffer.from(token.sha256, 'hex'),
    principal: { name: token.name, scopes: widen(token.scopes) },
  }));
  return (header) => {
    const given = /^Bearer +([\x21-\x7e]{1,4096})$/i.exec(header ?? '')?.[1];
    if (given === undefined) throw new AppError('UNAUTHENTICATED');
    const digest = hash('sha256', given, 'buffer');
    let found: Principal | undefined;
    // All are compared, so the time taken does not tell which one came close.
    for (const token of known) {
      if (timingSafeEqual(digest, token.digest)) found = token.principal;
    }
    if (found === undefined) throw new AppError('UNAUTHENTICATED');
    return found;
  };
}

/** @throws {FORBIDDEN} the principal lacks the scope */
export function demandScope(principal: Principal, scope: Scope): void {
  if (scope === 'public' || principal.scopes.has(scope)) return;
  throw new AppError('FORBIDDEN', { reason: `the token ${principal.name} lacks scope ${scope}` });
}

/** `admin` may do everything; `operate` may also read. */
function widen(given: readonly (typeof scopes)[number][]): Set<Scope> {
  if (given.includes('admin')) return new Set(scopes);
  return given.includes('operate') ? new Set([...given, 'read']) : new Set(given);
}

async function readTokensFile(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    throw new AppError(
      'INVALID_REQUEST',
      { reason: `IRONCLAW_TOKENS: the file ${path} cannot be read` },
      { field: 'IRONCLAW_TOKENS', cause: error },
    );
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message would quote the text.
    throw invalid('IRONCLAW_TOKENS', 'is not valid JSON');
  }
}

function parseLines(text: string): unknown[] {
  return text
    .split(/[\r\n;]+/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name, scopeList = '', sha256, ...rest] = line.split(':');
      if (rest.length > 0) throw invalid('IRONCLAW_TOKENS', 'a line is name:scopes:sha256');
      return { name, scopes: scopeList.split(',').map((scope) => scope.trim()), sha256 };
    });
}
