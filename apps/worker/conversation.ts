import { AppError, type OrderFile } from '#libs/contracts';
import {
  type ModelAnswer,
  type ModelFile,
  type ModelToolCall,
  type ModelTurn,
  splitSections,
} from '#libs/models';
import { type Asked, TOOL_SPECS, type UnitPorts } from '#libs/units';
import { summaryOf } from './aar.ts';
import type { Caps } from './caps.ts';
import { buildRequest, modelOutputs, outputsOf, textInputs, type UnitRequest } from './prompt.ts';

export type Conversation = {
  /** Puts files or tool results before the model; answers what it wants next, or the outputs. */
  ask: UnitPorts['ask'];
  /** The first sentences of the answer; empty before. */
  summary: () => string;
  /** Remarks of the provider on its answers. */
  notes: () => string[];
};

const HINT =
  'Tools let you look into further files of this order and write additional ones. When you know ' +
  'enough, answer with the result itself. If the order cannot be done, call blocked with the reason.';

/**
 * The worker's side of a unit's talk with the model: it keeps what was said and holds the caps on
 * calls and tokens, whatever the unit does.
 */
export function createConversation(options: {
  order: OrderFile;
  model: string;
  caps: Caps;
  /** True: the provider's models may be offered tools. */
  offersTools: boolean;
  call: (request: UnitRequest) => Promise<ModelAnswer>;
}): Conversation {
  const { order, model, caps, call } = options;
  const turns: ModelTurn[] = [];
  const notes = new Set<string>();
  let files: ModelFile[] | undefined;
  let wanted: { text: string; calls: readonly ModelToolCall[] } | undefined;
  let calls = 0;
  let tokensLeft = caps.tokens;
  let summary = '';

  const listen = (asked: Asked): void => {
    if (files === undefined) files = [...textInputs(order), ...asked.files];
    if (wanted === undefined) return;
    const results = new Map(asked.results.map((result) => [result.id, result]));
    const told = wanted.calls.map(({ id }) => ({ id, output: shownResult(results.get(id)) }));
    turns.push({ ...wanted, results: told });
    wanted = undefined;
  };

  const request = (tools: boolean): UnitRequest => {
    const base = buildRequest(order, files ?? [], model);
    const maxTokens = Math.min(base.maxTokens ?? tokensLeft, tokensLeft);
    if (!tools) return { ...base, maxTokens, turns };
    return { ...base, maxTokens, turns, tools: TOOL_SPECS, system: `${base.system}\n\n${HINT}` };
  };

  return {
    ask: async (asked) => {
      if (files !== undefined && wanted === undefined) throw new Error('the unit asks out of turn');
      listen(asked);
      if (tokensLeft <= 0) throw overCap(`its answers may have ${caps.tokens} tokens in all`);
      const tools = options.offersTools && calls < caps.calls;
      const answer = await call(request(tools));
      for (const note of answer.notes) notes.add(note);
      tokensLeft -= answer.usage.output_tokens;
      if (answer.toolCalls !== undefined) {
        if (!tools) throw overCap(`it may make ${caps.calls} tool calls`);
        calls += answer.toolCalls.length;
        wanted = { text: answer.text, calls: answer.toolCalls };
        return { kind: 'calls', calls: [...answer.toolCalls] };
      }
      const texts = splitSections(answer.text, modelOutputs(order));
      const outputs = outputsOf(order).map(({ path }) => ({ path, text: texts.get(path) ?? '' }));
      summary = summaryOf(outputs[0]?.text || answer.text);
      return { kind: 'answer', outputs };
    },
    summary: () => summary,
    notes: () => [...notes],
  };
}

function shownResult(result: Asked['results'][number] | undefined): string {
  if (result === undefined) return '[no result]';
  return result.exit === 0 ? result.output : `${result.output}\n[exit ${result.exit}]`;
}

function overCap(reason: string): AppError {
  return new AppError('TOOL_POLICY_VIOLATION', { reason });
}
