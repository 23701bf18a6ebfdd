import { faultOf, refused, textOf } from './answers.ts';
import { addressOf, exchange } from './exchange.ts';

/** Where a refresh token is exchanged, below the server's address. */
const REFRESH_PATH = '/api/v1/token/refresh/';

/** `access` goes with every request, `refresh` buys the next pair. */
export type Tokens = { access: string; refresh: string };

/**
 * Exchanges a refresh token for a new pair; a server that keeps the old refresh token leaves it out.
 * @returns undefined: the server no longer takes it
 * @throws {DEPENDENCY_UNAVAILABLE} no answer · {TRACKER_REFUSED} another answer than tokens
 */
export async function renewTokens(
  server: string,
  refresh: string,
  timeoutMs?: number,
): Promise<Tokens | undefined> {
  const url = addressOf(server, REFRESH_PATH);
  const answer = await exchange({ url, method: 'POST', body: { refresh }, timeoutMs });
  if ([400, 401, 403].includes(answer.status)) return undefined;
  if (answer.status !== 200) throw refused(faultOf(answer));
  const body = answer.body ?? {};
  const access = textOf(body, 'access');
  return { access, refresh: body.refresh === undefined ? refresh : textOf(body, 'refresh') };
}

/** Tokens that were renewed, kept for the next process. */
export type TokenStore = {
  /** Undefined: none were renewed since the user gave theirs. */
  read(): Tokens | undefined;
  write(tokens: Tokens): void;
};

export type Session = { token(): string | undefined; refresh(): Promise<boolean> };

/**
 * The tokens of one user at one server: those that were given, until newer ones are bought.
 * @param renew as `renewTokens`
 */
export function openSession(
  given: { access: string | undefined; refresh: string | undefined },
  store: TokenStore,
  renew: (refresh: string) => Promise<Tokens | undefined>,
): Session {
  let access = store.read()?.access ?? given.access;
  return {
    token: () => access,
    async refresh() {
      const kept = store.read();
      if (kept !== undefined && kept.access !== access) {
        // Another process has bought them meanwhile; a refresh token may be good for once only.
        access = kept.access;
        return true;
      }
      const refresh = kept?.refresh ?? given.refresh;
      if (refresh === undefined || refresh === '') return false;
      const renewed = await renew(refresh);
      if (renewed === undefined) return false;
      store.write(renewed);
      access = renewed.access;
      return true;
    },
  };
}
