import { createHash } from 'node:crypto';
import { extname } from 'node:path';
import { AppError, LIMITS, type OrderFile } from '#libs/contracts';
import { assertWritable, Denied, type UnitPorts } from '#libs/units';
import type { WrittenArtifact } from './aar.ts';
import { allowOf } from './caps.ts';
import { outputsOf } from './prompt.ts';

export type Outputs = {
  /** Writes one file for the unit. @throws {TOOL_POLICY_VIOLATION} · {PAYLOAD_TOO_LARGE} */
  write: UnitPorts['write'];
  /** What was written: the outputs that the order names first, as it names them. */
  artifacts: () => WrittenArtifact[];
};

/** Bytes that one order may write. */
const TOTAL_BYTES_MAX = 32 * 1024 * 1024;

const TYPES: Readonly<Record<string, string>> = {
  '.md': 'text/markdown',
  '.txt': 'text/plain',
  '.json': 'application/json',
  '.csv': 'text/csv',
};

/** The only way in which a unit writes: under outputs/, where the order's policy allows it. */
export function createOutputs(
  order: OrderFile,
  writeFiles: (files: readonly { path: string; bytes: Uint8Array }[]) => Promise<void>,
): Outputs {
  const named = new Map(outputsOf(order).map(({ path, type }) => [path, type]));
  const written = new Map<string, WrittenArtifact>();
  let left = TOTAL_BYTES_MAX;
  return {
    write: async ({ path: asked, text }) => {
      const path = place(asked, allowOf(order));
      const bytes = Buffer.from(text.endsWith('\n') ? text : `${text}\n`);
      left -= bytes.length;
      if (bytes.length > LIMITS.artifactBytes) {
        throw tooLarge(`artifact ${path}`, LIMITS.artifactBytes);
      }
      if (left < 0) throw tooLarge('output of the order', TOTAL_BYTES_MAX);
      if (written.size >= LIMITS.artifactsPerOrder && !written.has(path)) {
        throw tooLarge('number of artifacts', LIMITS.artifactsPerOrder);
      }
      await writeFiles([{ path, bytes }]);
      const type = named.get(path) ?? TYPES[extname(path)] ?? 'application/octet-stream';
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      written.set(path, { path, type, sha256, bytes: bytes.length });
    },
    artifacts: () => {
      const first = [...named.keys()].flatMap((path) => written.get(path) ?? []);
      return [...first, ...[...written.values()].filter(({ path }) => !named.has(path))];
    },
  };
}

function place(path: string, allow: readonly string[]): string {
  try {
    return assertWritable(path, allow);
  } catch (error) {
    if (!(error instanceof Denied)) throw error;
    throw new AppError('TOOL_POLICY_VIOLATION', { reason: error.message });
  }
}

function tooLarge(what: string, limit: number): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', { what, limit });
}
