import { timestamp } from '#libs/contracts';

/** Name of the two headers of a delivery, lower case. */
export const SIGNATURE_HEADER = 'x-openclaw-signature';
export const TIMESTAMP_HEADER = 'x-openclaw-timestamp';

/** How far the header time may be from the receiver's clock, either way. */
export const REPLAY_WINDOW_MS = 300_000;

export type WindowVerdict =
  | { readonly ok: true /** Receiver's clock minus header time. */; readonly skewMs: number }
  | { readonly ok: false; readonly reason: string };

/**
 * Is the header time ISO-8601 in UTC with a `Z`, and within the window? Other forms, as seconds
 * since 1970, are refused.
 */
export function checkWindow(
  header: string,
  nowMs: number,
  windowMs: number = REPLAY_WINDOW_MS,
): WindowVerdict {
  const atMs = timestamp.safeParse(header).success ? Date.parse(header) : Number.NaN;
  if (Number.isNaN(atMs)) {
    const form = 'as 2026-01-14T16:21:00.000Z';
    return { ok: false, reason: `${TIMESTAMP_HEADER} is no timestamp in UTC, ${form}` };
  }
  const skewMs = nowMs - atMs;
  if (Math.abs(skewMs) <= windowMs) return { ok: true, skewMs };
  const side = skewMs > 0 ? 'too old' : 'too far ahead';
  const limit = `${windowMs / 1000} s from the receiver's clock are allowed`;
  return { ok: false, reason: `timestamp ${header.slice(0, 40)} is ${side}: ${limit}` };
}
