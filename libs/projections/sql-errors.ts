/** Result codes of SQLite (sqlite.org/rescode.html), primary part. */
const CORRUPT = 11;
const NOT_A_DATABASE = 26;
/** TOOBIG, CONSTRAINT, MISMATCH, RANGE: about the values, not about the machine. */
const ABOUT_VALUES = new Set([18, 19, 20, 25]);

/** The primary SQLite result code of an error; undefined if it is not SQLite's. */
function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, errcode } = error as Error & { code?: unknown; errcode?: unknown };
  if (code !== 'ERR_SQLITE_ERROR' || typeof errcode !== 'number') return undefined;
  return errcode & 0xff;
}

/** True if the file is torn or was never a database. */
export function isDamage(error: unknown): boolean {
  const code = resultCode(error);
  return code === CORRUPT || code === NOT_A_DATABASE;
}

/** True if the event is to blame: applying it again can only fail again. */
export function isAboutEvent(error: unknown): boolean {
  const code = resultCode(error);
  if (code !== undefined) return ABOUT_VALUES.has(code);
  return (error as { code?: unknown } | undefined)?.code !== 'ERR_INVALID_STATE';
}
