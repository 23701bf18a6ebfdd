import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LIMITS } from '#libs/contracts';
import {
  canonicalize,
  checkWindow,
  parseSigned,
  secretsFromEnv,
  signBody,
  signingSecret,
  verifySignature,
} from './mod.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const canonicalOf = (text: string): string => parseSigned(utf8(text)).canonical;
const hmac = (secret: string, text: string): string =>
  createHmac('sha256', secret).update(text).digest('hex');

describe('canonical form', () => {
  test.each([
    ['{"b":1, "a":[{"d":1,"c":2}]}', '{"a":[{"c":2,"d":1}],"b":1}'],
    ['{"10":1,"9":2,"a":3,"01":4,"-1":5}', '{"9":2,"10":1,"-1":5,"01":4,"a":3}'],
    ['{"4294967295":1,"4294967294":2,"0":3}', '{"0":3,"4294967294":2,"4294967295":1}'],
    ['[1.0,-0,1e21,1E-7,12345678901234567890,1e400]', '[1,0,1e+21,1e-7,12345678901234567000,null]'],
    [String.raw`"\/A\ud800"`, String.raw`"/A\ud800"`],
    ['\ufeff{"a":1}', '{"a":1}'],
    ['"x"', '"x"'],
    ['null', 'null'],
    ['{"a":"\\"b\\":1,\\\\"}', '{"a":"\\"b\\":1,\\\\"}'],
  ])('%s', (text, canonical) => {
    expect(canonicalOf(text)).toBe(canonical);
  });

  test('astral keys sort before U+FB01, by UTF-16 code units', () => {
    expect(canonicalOf('{"\ufb01":1,"\u{1f600}":2}')).toBe('{"\u{1f600}":2,"\ufb01":1}');
  });

  test('an invalid byte is U+FFFD', () => {
    expect(parseSigned(Uint8Array.of(0x22, 0xff, 0x22)).canonical).toBe('"\ufffd"');
  });

  test('is the same for any order of keys and any blanks, and stands for the same value', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.integer({ min: 0, max: 4 }), (json, indent) => {
        const value: unknown = JSON.parse(json);
        fc.pre(!json.includes('__proto__'));
        const canonical = canonicalize(value);
        expect(JSON.parse(canonical)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalOf(JSON.stringify(reversed(value), null, indent))).toBe(canonical);
        expect(canonicalOf(canonical)).toBe(canonical);
      }),
    );
  });

  test.each([
    ['{"a":1', 'INVALID_JSON'],
    ['', 'INVALID_JSON'],
    ['{"a":1}{"b":2}', 'INVALID_JSON'],
    ['{"a":{"__proto__":1}}', 'INVALID_REQUEST'],
    [String.raw`{"\u005f_proto__":1}`, 'INVALID_REQUEST'],
    ['{"a":1,"a":1}', 'INVALID_REQUEST'],
    [String.raw`{"a":1,"b":[{"\u0061":1,"a" : 2}]}`, 'INVALID_REQUEST'],
    ['['.repeat(20_000) + ']'.repeat(20_000), 'INVALID_REQUEST'],
  ])('refuses %.40s', (text, code) => {
    expect(() => parseSigned(utf8(text))).toThrow(expect.objectContaining({ code }));
  });

  test('takes the depth that is allowed and refuses one more', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(canonicalOf(nested(LIMITS.signedDepth))).toBe(nested(LIMITS.signedDepth));
    expect(() => canonicalOf(nested(LIMITS.signedDepth + 1))).toThrow('nested deeper');
  });
});

describe('vectors of the original', () => {
  // Content that its signature does not cover is refused here.
  const unsigned = ['sig-19-duplicate-key'];
  test.each(vectors().map((vector) => [vector.id, vector] as const))('%s', (id, vector) => {
    const body =
      vector.rawBody === undefined
        ? Buffer.from(vector.rawBodyBase64 ?? '', 'base64')
        : utf8(vector.rawBody);
    const secret = signingSecret(vector.secret);
    const { canonical } = vector;
    const signature = signBody(secret, { channel: 'milestones', timestamp: '', canonical });
    expect(signature).toBe(vector.signatureHex);
    if (unsigned.includes(id)) {
      expect(canonicalize(JSON.parse(vector.rawBody ?? ''))).toBe(canonical);
      expect(() => parseSigned(body)).toThrow('twice');
    } else {
      expect(parseSigned(body).canonical).toBe(canonical);
    }
  });
});

describe('signature', () => {
  const secret = signingSecret('secret-a');
  const signed = {
    channel: 'milestones',
    timestamp: '2026-01-01T00:00:00Z',
    canonical: '{}',
  } as const;

  test('is HMAC-SHA256 of the canonical body, in hex; or of time, channel and body', () => {
    expect(signBody(secret, signed)).toBe(hmac('secret-a', '{}'));
    const bound = hmac('secret-a', '2026-01-01T00:00:00Z.milestones.{}');
    expect(signBody(secret, signed, 'bound')).toBe(bound);
  });

  test('is accepted of any active secret, and names it', () => {
    const [old, next] = [signingSecret('old'), signingSecret('next')];
    for (const mode of ['body', 'bound'] as const) {
      const signature = signBody(old, signed, mode);
      expect(verifySignature([next, old], signed, signature)).toEqual({ keyId: old.keyId, mode });
      expect(verifySignature([next], signed, signature)).toBeUndefined();
    }
    expect(verifySignature([old], signed, signBody(old, signed).toUpperCase())).toBeDefined();
  });

  test('over the body alone does not count where more is required', () => {
    expect(verifySignature([secret], signed, signBody(secret, signed), true)).toBeUndefined();
    const bound = signBody(secret, signed, 'bound');
    expect(verifySignature([secret], signed, bound, true)).toBeDefined();
    for (const other of [{ timestamp: '2026-01-01T00:00:01Z' }, { channel: 'demand' as const }]) {
      expect(verifySignature([secret], { ...signed, ...other }, bound)).toBeUndefined();
    }
  });

  test('any other text is none', () => {
    const right = signBody(secret, signed);
    const base64 = Buffer.from(right, 'hex').toString('base64');
    for (const wrong of [
      '',
      '0'.repeat(64),
      right.slice(1),
      `sha256=${right}`,
      base64,
      `${right}0`,
    ]) {
      expect(verifySignature([secret], signed, wrong)).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.json(), fc.string(), (json, text) => {
        fc.pre(json !== text);
        const mac = signBody(secret, { ...signed, canonical: json });
        const verdict = verifySignature([secret], { ...signed, canonical: text }, mac);
        expect(verdict).toBeUndefined();
      }),
    );
  });
});

describe('secrets', () => {
  test('are trimmed, and once each', () => {
    const env = {
      MILESTONE_SIGNING_SECRET: ' new\n',
      MILESTONE_SIGNING_SECRETS_ACCEPTED: 'old , new,\nolder',
    };
    const secrets = secretsFromEnv(env);
    expect(secrets.map(({ secret }) => secret)).toEqual(['new', 'old', 'older']);
    expect(new Set(secrets.map(({ keyId }) => keyId)).size).toBe(3);
    expect(secretsFromEnv({})).toEqual([]);
  });

  test.each([
    { MILESTONE_SIGNING_SECRET: ' \n' },
    { MILESTONE_SIGNING_SECRET: '' },
    { MILESTONE_SIGNING_SECRET: 'a', MILESTONE_SIGNING_SECRETS_ACCEPTED: 'b, ,c' },
    {
      MILESTONE_SIGNING_SECRETS_ACCEPTED: Array.from({ length: 17 }, (_, n) => `s${n}`).join(','),
    },
  ])('are refused: %j', (env) => {
    expect(() => secretsFromEnv(env)).toThrow('MILESTONE_SIGNING_SECRET');
  });
});

describe('replay window', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  const at = (offsetMs: number): string => new Date(now + offsetMs).toISOString();

  test('holds both ways, to the millisecond', () => {
    for (const side of [-1, 1]) {
      const verdict = checkWindow(at(side * 300_000), now);
      expect(verdict).toEqual({ ok: true, skewMs: -side * 300_000 });
      const late = checkWindow(at(side * 300_001), now);
      expect(late).toMatchObject({ ok: false, reason: expect.stringContaining('timestamp') });
    }
    expect(checkWindow(at(-2_000), now, 1_000).ok).toBe(false);
  });

  test.each(['banana', '', '2026-13-01T00:00:00Z', String(now), '2026-01-01T12:00:00+00:00'])(
    'refuses %s',
    (header) => {
      expect(checkWindow(header, now)).toMatchObject({
        ok: false,
        reason: expect.stringContaining('timestamp'),
      });
    },
  );
});

type Vector = {
  id: string;
  secret: string;
  rawBody?: string;
  rawBodyBase64?: string;
  canonical: string;
  signatureHex: string;
};

/** What the original answered, observed; see test/vectors/openclaw/README.md. */
function vectors(): Vector[] {
  const file = new URL('../../test/vectors/openclaw/signing-vectors.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { vectors: Vector[] }).vectors;
}

/** The same value with the members of every object in reverse. */
function reversed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(reversed);
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, one]) => [key, reversed(one)]),
  );
}
