/** Durations on the wire: configuration in nanoseconds, TTL headers as text; ours are in ms. */

const NS_PER_MS = 1_000_000;

/** JetStream configuration takes nanoseconds. */
export function toNanos(ms: number): number {
  return ms * NS_PER_MS;
}

/** Rounds down to whole milliseconds. */
export function fromNanos(ns: number): number {
  return Math.floor(ns / NS_PER_MS);
}

/** A TTL header: whole seconds, at least one, which is the server's least. */
export function toTtl(ms: number): string {
  return `${Math.max(1, Math.ceil(ms / 1_000))}s`;
}
