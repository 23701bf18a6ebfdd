import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AppError, ORCHESTRATOR_ERRORS } from '#libs/contracts';
import { compileGate, type Gate } from '#libs/missions';

const SHIPPED = fileURLToPath(new URL('./upstream-3.0.0-shape.json', import.meta.url));

/** What we have agreed on beyond the shape's allow lists; its deny lists stay above it. */
const EXTENSIONS = {
  commands: ['resolve-workspace'],
  errorCodes: Object.entries(ORCHESTRATOR_ERRORS).flatMap(([code, { upstream }]) =>
    upstream ? [] : [code],
  ),
};

/**
 * Loads the contract's shape and compiles it; call it once when a program starts.
 * `IRONCLAW_CONTRACT_SHAPE` names another file than the one that is shipped.
 * @throws {CONTRACT_SHAPE_UNUSABLE} the file is missing, no JSON or no such shape
 */
export function loadGate(env: Readonly<Record<string, string | undefined>> = {}): Gate {
  const path = env.IRONCLAW_CONTRACT_SHAPE || SHIPPED;
  let shape: unknown;
  try {
    shape = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const reason = (error as Error).message;
    throw new AppError('CONTRACT_SHAPE_UNUSABLE', { path, reason }, { cause: error });
  }
  return compileGate(shape, EXTENSIONS, path);
}
