import { isIP } from 'node:net';
import { AppError, invalid } from '#libs/contracts';

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];

/** True for addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Reads IRONCLAW_ALLOWED_HOSTS and IRONCLAW_ALLOWED_ORIGINS, both separated by commas. */
export function allowedFromEnv(env: Record<string, string | undefined>): {
  allowedHosts: string[];
  allowedOrigins: string[];
} {
  const list = (text: string | undefined): string[] =>
    (text ?? '')
      .split(',')
      .map((part) => part.trim().toLowerCase())
      .filter((part) => part !== '');
  return {
    allowedHosts: list(env.IRONCLAW_ALLOWED_HOSTS),
    allowedOrigins: list(env.IRONCLAW_ALLOWED_ORIGINS),
  };
}

export type GuardOptions = {
  /** The address that is bound. */
  host: string;
  /** Further names that clients may call this server by, without port; `*` for any. */
  allowedHosts?: readonly string[];
  /** Further origins whose pages may call it, as `https://console.example`. */
  allowedOrigins?: readonly string[];
};

/**
 * Stops web pages of other sites: a name rebound to this address fails at Host, a cross-site call
 * at Origin. Addresses written as numbers cannot be rebound, so they pass.
 * @returns a check of the Host and Origin headers; it answers whether the origin is a foreign one
 *   that was configured
 * @throws {FORBIDDEN} (the returned function) a host or origin that is not allowed
 * @throws {INVALID_REQUEST} (the returned function) no Host header
 */
export function originGuard(options: GuardOptions) {
  const names = new Set([...LOOPBACK_NAMES, options.host, ...(options.allowedHosts ?? [])]);
  const anyHost = names.has('*');
  const origins = new Set(options.allowedOrigins);
  // Clients send the same header again and again; the last good one is worth remembering.
  let lastGood = '';
  return (host: string | undefined, origin: string | undefined): boolean => {
    if (host === undefined || host === '') throw invalid('host', 'the Host header is missing');
    if (host !== lastGood) {
      if (!anyHost && !isAllowedHost(host, names)) {
        throw new AppError(
          'FORBIDDEN',
          {
            reason: 'the Host header names a host that is not configured (IRONCLAW_ALLOWED_HOSTS)',
          },
          { field: 'host' },
        );
      }
      lastGood = host;
    }
    if (origin === undefined || origin === `http://${host}` || origin === `https://${host}`) {
      return false;
    }
    if (origins.has(origin)) return true;
    throw new AppError(
      'FORBIDDEN',
      { reason: 'a page of another origin may not call this' },
      { field: 'origin' },
    );
  };
}

function isAllowedHost(header: string, names: ReadonlySet<string>): boolean {
  const name = header
    .toLowerCase()
    .replace(/:\d{1,5}$/, '')
    .replace(/\.$/, '');
  if (names.has(name)) return true;
  const bare = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  return isIP(bare) !== 0;
}
