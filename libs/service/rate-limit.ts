import { AppError, type Endpoint } from '#libs/contracts';

/** Endpoints that share a budget. */
export type RateClass = 'append' | 'chat' | 'write' | 'read';

/** A token bucket: `burst` requests at once, refilled at `perSecond`. */
export type Rate = { burst: number; perSecond: number };
export type Rates = Readonly<Record<RateClass, Rate>>;

/** Per caller and class; generous enough that only a loop without a pause meets them. */
export const DEFAULT_RATES: Rates = {
  append: { burst: 5_000, perSecond: 2_000 },
  chat: { burst: 50, perSecond: 20 },
  write: { burst: 500, perSecond: 200 },
  read: { burst: 2_000, perSecond: 1_000 },
};

const CALLERS_MAX = 10_000;

type Bucket = { tokens: number; atMs: number; rate: Rate };

export function rateClass(endpoint: Endpoint): RateClass {
  if (endpoint.method === 'GET') return 'read';
  if (endpoint.role === 'ledger' && endpoint.path.startsWith('/events')) return 'append';
  if (endpoint.path.endsWith('/ingest')) return 'append';
  return endpoint.name === 'chat' ? 'chat' : 'write';
}

/**
 * A limiter over at most `callersMax` buckets; the one unused longest is forgotten first.
 * @param now milliseconds that never go back
 * @returns a function that takes one request from the caller's budget
 * @throws {RATE_LIMITED} (the returned function) with the wait until the next request
 */
export function rateLimiter(
  rates: Rates,
  now: () => number,
  callersMax = CALLERS_MAX,
): (caller: string, kind: RateClass) => void {
  const buckets = new Map<string, Bucket>();
  return (caller, kind) => {
    const key = `${kind} ${caller}`;
    const atMs = now();
    const bucket = buckets.get(key) ?? admit(buckets, key, rates[kind], atMs, callersMax);
    const { burst, perSecond } = bucket.rate;
    const refill = ((atMs - bucket.atMs) / 1000) * perSecond;
    bucket.tokens = Math.min(burst, bucket.tokens + refill);
    bucket.atMs = atMs;
    if (bucket.tokens < 1) {
      const retryAfterMs = Math.ceil(((1 - bucket.tokens) / perSecond) * 1000);
      throw new AppError('RATE_LIMITED', {}, { retryAfterMs });
    }
    bucket.tokens -= 1;
  };
}

function admit(
  buckets: Map<string, Bucket>,
  key: string,
  rate: Rate,
  atMs: number,
  callersMax: number,
): Bucket {
  if (buckets.size >= callersMax) {
    let idlest: string | undefined;
    let idlestAtMs = Number.POSITIVE_INFINITY;
    for (const [name, bucket] of buckets) {
      const fullAtMs = bucket.atMs + (bucket.rate.burst / bucket.rate.perSecond) * 1000;
      // A bucket that has had time to fill up says nothing any more.
      if (fullAtMs <= atMs) buckets.delete(name);
      else if (bucket.atMs < idlestAtMs) [idlest, idlestAtMs] = [name, bucket.atMs];
    }
    if (buckets.size >= callersMax && idlest !== undefined) buckets.delete(idlest);
  }
  const bucket = { tokens: rate.burst, atMs, rate };
  buckets.set(key, bucket);
  return bucket;
}
