/** A pseudo-random sequence of its own seed (mulberry32): a case is named by its number. */
export function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

type Random = (below: number) => number;
type Holder = Record<string | number, unknown>;

/** Values that programs trip over. JSON text, as an own `__proto__` cannot be written in code. */
const JUNK = [
  'null',
  'true',
  'false',
  '0',
  '-1',
  '1.5',
  '1e308',
  '9007199254740993',
  '""',
  '" "',
  '"1"',
  '" 1 "',
  '"__proto__"',
  '"constructor"',
  '"\\u0000"',
  '"\\ud800"',
  '"2026-01-01T00:00:00.000Z"',
  '"2026-01-01"',
  '"+275760-09-13T00:00:00.000Z"',
  '"not-required"',
  '"resolved"',
  '"solo"',
  '[]',
  '{}',
  '[null]',
  '[[]]',
  '[{}]',
  '["x",1,null,{}]',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"toString":1,"valueOf":2}',
  '{"length":-1}',
  '{"0":"a","2":"b","registry_version":"1"}',
  '{"then":1,"toJSON":1}',
  '{"waived":true,"rationale":"xxxxxxxxxxxxxxxxxxxx"}',
  '{"type":"table","required":true}',
];

/** Keys that mean something somewhere in a project. */
const KEYS = `
  id name schema_version schemaVersion meta plan plan_id planId phases artifacts
  comments waiver goNoGoDecision status decidedAt audit_log openclaw integrity
  signature history hash public_key_jwk field_values templateData template_id
  template_version template_set_profile project governance_mode project_owner
  lastSavedFrom minReaderVersion phase_number isGateBlocking rationale notes created
  toString hasOwnProperty extra
`
  .trim()
  .split(/\s+/);

/** A copy of a JSON text's value with 1 to 6 places changed. */
export function mutate(text: string, random: Random): unknown {
  let root: unknown = JSON.parse(text);
  const count = 1 + random(6);
  for (let i = 0; i < count; i += 1) {
    const holders: Holder[] = [];
    collect(root, holders);
    const holder = holders[random(holders.length || 1)];
    if (holder === undefined || random(60) === 0) root = junk(random);
    else change(holder, random);
  }
  return root;
}

function collect(value: unknown, holders: Holder[]): void {
  if (typeof value !== 'object' || value === null) return;
  holders.push(value as Holder);
  for (const part of Object.values(value)) collect(part, holders);
}

function change(holder: Holder | unknown[], random: Random): void {
  const kind = random(6);
  if (Array.isArray(holder)) {
    // No holes: JSON has none.
    const at = random(holder.length || 1);
    if (kind === 0) holder.splice(at, 1);
    else if (kind < 3)
      holder.push(kind === 1 ? junk(random) : (structuredClone(holder[at]) ?? null));
    else holder.splice(at, 1, junk(random));
    return;
  }
  const keys = Object.keys(holder);
  const key = keys[random(keys.length || 1)] ?? 'extra';
  const other = keys[random(keys.length || 1)] ?? 'extra';
  if (kind === 0) delete holder[key];
  else if (kind === 1) set(holder, KEYS[random(KEYS.length)] ?? 'extra', junk(random));
  else if (kind === 2) set(holder, key, structuredClone(holder[other]) ?? null);
  else set(holder, key, junk(random));
}

/** Never assigns, which would reach into prototypes. */
function set(holder: Holder, key: string, value: unknown): void {
  Object.defineProperty(holder, key, {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

function junk(random: Random): unknown {
  return JSON.parse(JUNK[random(JUNK.length)] ?? 'null');
}
