import { createHash } from 'node:crypto';
import { AppError, isAppError, LIMITS, type OrderFile } from '#libs/contracts';
import { type ModelAnswer, type ModelFile, splitSections } from '#libs/models';
import { summaryOf, type WrittenArtifact } from './aar.ts';
import type { Stage } from './failure.ts';
import {
  buildRequest,
  filesWanted,
  modelOutputs,
  outputsOf,
  PROMPT_LIMITS,
  textInputs,
  type UnitRequest,
} from './prompt.ts';
import { requireAllowed } from './tool-policy.ts';

/** All that a unit can do. Each rejects once the order's time is over or the order is taken away. */
export type UnitPorts = {
  /** @throws {ARTIFACT_NOT_FOUND} there is none · {PAYLOAD_TOO_LARGE} over `maxBytes` */
  readFile: (path: string, maxBytes: number) => Promise<Uint8Array>;
  /** Paths of the files below a folder. */
  listFiles: (folder: string) => Promise<string[]>;
  writeFiles: (files: readonly { path: string; bytes: Uint8Array }[]) => Promise<void>;
  callModel: (request: UnitRequest) => Promise<ModelAnswer>;
  /** Tells what comes next. */
  stage: (stage: Stage) => void;
};

export type UnitInput = {
  order: OrderFile;
  /** Name of the model to ask. */
  model: string;
};

export type UnitResult = {
  summary: string;
  artifacts: WrittenArtifact[];
  notes: string[];
};

/**
 * Executes one order: reads its files, asks the model, writes the outputs. It knows neither queue,
 * ledger nor git, so that it can run in a process of its own.
 * @throws {MODEL_ERROR} · {MODEL_QUOTA} · {TIMEOUT} · {TOOL_POLICY_VIOLATION} · {PAYLOAD_TOO_LARGE}
 */
export async function executeOrder(input: UnitInput, ports: UnitPorts): Promise<UnitResult> {
  const { order, model } = input;
  const outputs = outputsOf(order);
  // Before the model is asked: an answer that may not be written is not worth its price.
  requireAllowed(
    order,
    outputs.map(({ path }) => path),
  );
  const notes: string[] = [];
  const files = [...textInputs(order), ...(await readFiles(filesWanted(order), ports, notes))];
  ports.stage('calling_model');
  const answer = await ports.callModel(buildRequest(order, files, model));
  ports.stage('writing_artifacts');
  const texts = splitSections(answer.text, modelOutputs(order));
  const written = outputs.map(({ path, type }) => toFile(path, type, texts.get(path) ?? ''));
  await ports.writeFiles(written);
  return {
    summary: summaryOf(texts.get(outputs[0]?.path ?? '') ?? answer.text),
    artifacts: written.map(({ path, type, bytes }) => ({
      path,
      type,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      bytes: bytes.length,
    })),
    notes: [...notes, ...answer.notes],
  };
}

function toFile(path: string, type: string, text: string) {
  const bytes = Buffer.from(text.endsWith('\n') ? text : `${text}\n`);
  if (bytes.length > LIMITS.artifactBytes) {
    const params = { what: `artifact ${path}`, limit: LIMITS.artifactBytes };
    throw new AppError('PAYLOAD_TOO_LARGE', params);
  }
  return { path, type, bytes };
}

/** What is absent, too large or no text is left out with a note: the model works on the rest. */
async function readFiles(
  wanted: readonly string[],
  ports: UnitPorts,
  notes: string[],
): Promise<ModelFile[]> {
  const files: ModelFile[] = [];
  let left: number = PROMPT_LIMITS.totalBytes;
  for (const path of await expand(wanted, ports, notes)) {
    if (files.length === PROMPT_LIMITS.files) {
      notes.push(`Only the first ${PROMPT_LIMITS.files} files were read.`);
      break;
    }
    const bytes = await readOne(path, Math.min(left, PROMPT_LIMITS.fileBytes), ports, notes);
    if (bytes === undefined) continue;
    if (bytes.includes(0)) {
      notes.push(`${path} is not text and was left out.`);
      continue;
    }
    left -= bytes.length;
    files.push({ path, text: new TextDecoder().decode(bytes) });
  }
  return files;
}

async function readOne(
  path: string,
  maxBytes: number,
  ports: UnitPorts,
  notes: string[],
): Promise<Uint8Array | undefined> {
  try {
    return await ports.readFile(path, maxBytes);
  } catch (error) {
    if (isAppError(error, 'ARTIFACT_NOT_FOUND')) notes.push(`${path} is not there.`);
    else if (isAppError(error, 'PAYLOAD_TOO_LARGE')) notes.push(`${path} is too large to be read.`);
    else throw error;
    return undefined;
  }
}

/** Replaces `folder/*` by the files directly in that folder. */
async function expand(
  wanted: readonly string[],
  ports: UnitPorts,
  notes: string[],
): Promise<Set<string>> {
  const paths = new Set<string>();
  for (const path of wanted) {
    if (!path.endsWith('/*')) {
      paths.add(path);
      continue;
    }
    const folder = path.slice(0, -2);
    const found = await ports.listFiles(folder);
    const inside = found.filter((file) => !file.slice(folder.length + 1).includes('/'));
    if (inside.length === 0) notes.push(`${path} matches no file.`);
    for (const file of inside) paths.add(file);
  }
  return paths;
}
