import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ModelAnswer,
  type ModelProvider,
  type ModelRequest,
  type ModelTask,
} from '../port.ts';
import { splitSections } from '../sections.ts';
import { aboutHeading, callSummary, draft, research } from './answers.ts';
import { plan } from './plan.ts';
import { review } from './review.ts';
import { MAX_CHARS } from './text.ts';
import { verify } from './verify.ts';

/** The name of the local model in answers and reports. */
export const LOCAL_MODEL = 'local-extractive-1';

const TASKS: Record<ModelTask, (request: ModelRequest) => string> = {
  draft,
  research,
  verify,
  call_summary: callSummary,
  plan,
  review,
};

/**
 * The provider that needs no network and no weights: it ranks and quotes what the files say.
 *
 * The same request always gives the same text. `usage` counts words, as it has no tokens; the
 * request's model name and temperature are ignored. Text beyond 4 000 000 characters is left out,
 * with a note. `delayMs` (default 0) makes each answer take at least so long, to watch a run.
 */
export function localProvider(
  options: { now?: () => number; delayMs?: number } = {},
): ModelProvider {
  const { now = () => performance.now(), delayMs = 0 } = options;
  return {
    name: 'local',
    async complete(request): Promise<ModelAnswer> {
      request.signal.throwIfAborted();
      const startedMs = now();
      if (delayMs > 0) await pause(delayMs, request.signal);
      const text = withSections(TASKS[request.task](request), request);
      const chars = request.files.reduce((total, file) => total + file.text.length, 0);
      const notes = ['Extracted from the given text by the local model; nothing was generated.'];
      if (chars > MAX_CHARS) notes.push(`Only the first ${MAX_CHARS} characters were read.`);
      return {
        text,
        provider: 'local',
        model: LOCAL_MODEL,
        temperature: 0,
        usage: {
          input_tokens: request.files.reduce((total, file) => total + countWords(file.text), 0),
          output_tokens: countWords(text),
        },
        costMicroUsd: 0,
        requestMs: Math.round(now() - startedMs),
        tries: 1,
        finishReason: 'stop',
        notes,
      };
    },
  };
}

async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, undefined, { signal });
  } catch {
    // A sleep fails for one reason: it was aborted. The caller's own reason is thrown.
    signal.throwIfAborted();
  }
}

/** Adds the headings that the outputs are cut at and the task does not write by itself. */
function withSections(text: string, request: ModelRequest): string {
  const missing = request.outputs.flatMap(({ path, section }) => {
    if (section === undefined) return [];
    try {
      splitSections(text, [{ path, section }]);
      return [];
    } catch {
      // Its only failure is that the section is not there, which is the question here.
      return [aboutHeading(request, section)];
    }
  });
  return [text, ...missing].join('\n');
}

function countWords(text: string): number {
  let words = 0;
  let inside = false;
  for (let at = 0; at < text.length; at += 1) {
    const space = text.charCodeAt(at) <= 32;
    if (!space && !inside) words += 1;
    inside = !space;
  }
  return words;
}
