import { accept, isFilled, isObject, type Result, refuse } from './result.ts';

/** Under what rules an agent runs; the eight keys that are kept in events. Source: reference §1.2. */
export type Policy = {
  orchestrator_id: string;
  orchestrator_version: string;
  agent_family: string;
  approval_mode: string;
  sandbox_mode: string;
  network_mode: string;
  dangerous_flags: string[];
  tool_restrictions: string | null;
};

const TEXT_KEYS = [
  'orchestrator_id',
  'orchestrator_version',
  'agent_family',
  'approval_mode',
  'sandbox_mode',
  'network_mode',
] as const;

/** Flags that switch an agent's own safety off. */
const BANNED_FLAGS: ReadonlySet<string> = new Set([
  '--full-auto',
  '--yolo',
  '--dangerously-bypass-approvals-and-sandbox',
  '--dangerously-skip-permissions',
]);
const SECRET = /token|secret|key|password|credential/i;
const DEPTH_MAX = 32;

/**
 * Reads `--policy`. Absent or blank is undefined, or POLICY_METADATA_REQUIRED where it is needed;
 * whatever is given must be right, also where it is optional.
 */
export function parsePolicy(
  text: string | undefined,
  requiredFor?: string,
): Result<Policy | undefined> {
  if (text === undefined || text.trim() === '') {
    if (requiredFor === undefined) return accept(undefined);
    return refuse('POLICY_METADATA_REQUIRED', { reason: `${requiredFor} runs an agent` });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return invalid(`not JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) return invalid('not an object');
  for (const key of TEXT_KEYS) {
    if (!Object.hasOwn(value, key)) return invalid(`${key} is missing`, key);
    if (!isFilled(value[key])) return invalid(`${key} must be a non-empty string`, key);
  }
  const { dangerous_flags: flags, tool_restrictions: restrictions = null } = value;
  if (!isTexts(flags))
    return invalid('dangerous_flags must be a list of strings', 'dangerous_flags');
  const banned = flags.find((flag) => BANNED_FLAGS.has(flag.trim().split('=')[0] ?? ''));
  if (banned !== undefined) return invalid(`${banned} is not allowed`, 'dangerous_flags');
  if (restrictions !== null && typeof restrictions !== 'string') {
    return invalid('tool_restrictions must be a string or null', 'tool_restrictions');
  }
  const secret = findSecret(value, '', 0);
  if (secret !== undefined) return invalid(`${secret} looks like a secret`, secret);
  const texts = Object.fromEntries(TEXT_KEYS.map((key) => [key, value[key]]));
  return accept({ ...texts, dangerous_flags: flags, tool_restrictions: restrictions } as Policy);
}

function invalid(reason: string, field?: string): Result<never> {
  return refuse('POLICY_VALIDATION_FAILED', { reason, ...(field !== undefined && { field }) });
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/** The path of the first string value that looks like a secret. Keys are not looked at. */
function findSecret(value: unknown, path: string, depth: number): string | undefined {
  if (depth > DEPTH_MAX) return path;
  if (typeof value === 'string') return SECRET.test(value) ? path : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, item] of Object.entries(value)) {
    const found = findSecret(item, path === '' ? key : `${path}.${key}`, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}
