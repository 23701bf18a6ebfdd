import type { PolicyDocument } from '#libs/contracts';

/** One value that differs; undefined where one side has none. */
export type PolicyChange = { path: string; before?: unknown; after?: unknown };

/** What differs between two policies in routes, numbers and exploration, by path. */
export function diffPolicies(before: PolicyDocument, after: PolicyDocument): PolicyChange[] {
  const [old, now] = [valuesOf(before), valuesOf(after)];
  const paths = [...new Set([...old.keys(), ...now.keys()])].sort();
  return paths.flatMap((path): PolicyChange[] => {
    const [a, b] = [old.get(path), now.get(path)];
    if (a === b) return [];
    return [{ path, ...(a !== undefined && { before: a }), ...(b !== undefined && { after: b }) }];
  });
}

function valuesOf({ routes, cells, exploration }: PolicyDocument): Map<string, unknown> {
  const values = new Map<string, unknown>([['exploration', exploration]]);
  for (const [type, { profile, model }] of Object.entries(routes)) {
    values.set(`routes.${type}.profile`, profile);
    values.set(`routes.${type}.model`, model);
  }
  for (const { profile, task_type, latency_ms, ...numbers } of cells) {
    const at = `cells.${task_type}.${profile}`;
    for (const [key, value] of Object.entries({ ...numbers, ...latency_ms })) {
      values.set(`${at}.${key}`, value);
    }
  }
  return values;
}
