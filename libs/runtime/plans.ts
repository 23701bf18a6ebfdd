import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalid } from '#libs/contracts';
import {
  BUILT_IN_PLANS,
  createEngine,
  type Engine,
  planFault,
  type PlanProfile,
  templateFault,
} from '#libs/projects';

/**
 * The rules of projects with the built-in plans and those of the folders: one JSON file a plan. A
 * plan of a folder takes the place of a built-in one of its id.
 * @throws {INVALID_REQUEST} a folder cannot be read, or a file is no plan; `field` is its path
 */
export function loadEngine(dirs: readonly string[]): Engine {
  return createEngine([...dirs.flatMap(readPlans), ...BUILT_IN_PLANS]);
}

function readPlans(dir: string): PlanProfile[] {
  try {
    const names = readdirSync(dir).filter((name) => name.endsWith('.json'));
    return names.toSorted().map((name) => readPlan(join(dir, name)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    throw invalid(dir, `cannot be read: ${(error as Error).message}`);
  }
}

function readPlan(file: string): PlanProfile {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw invalid(file, `is not JSON: ${(error as Error).message}`);
  }
  const fault = planFault(value) ?? templatesFault((value as PlanProfile).templates);
  if (fault !== undefined) throw invalid(file, fault);
  return value as PlanProfile;
}

function templatesFault(templates: unknown): string | undefined {
  if (templates === undefined) return undefined;
  if (!Array.isArray(templates)) return 'templates must be a list';
  const faults = templates.map(templateFault);
  const index = faults.findIndex((fault) => fault !== undefined);
  return index < 0 ? undefined : `templates[${index}] ${faults[index]}`;
}
