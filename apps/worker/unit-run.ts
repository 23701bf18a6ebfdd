import type { OrderFile } from '#libs/contracts';
import { runUnit, type UnitEnd } from '#libs/units';
import { type Attempt, type AttemptTools, modelOf, type Outcome } from './attempt.ts';
import { capsOf, taskOf } from './caps.ts';
import { createConversation } from './conversation.ts';
import { BLOCKED } from './failure.ts';
import type { ModelCalls } from './model-calls.ts';
import { createOutputs } from './outputs.ts';
import type { Stages } from './stages.ts';
import type { ToolLog } from './tool-log.ts';

/** What goes with one run of a unit. */
export type UnitRun = {
  order: OrderFile;
  calls: ModelCalls;
  toolLog: ToolLog;
  stages: Stages;
  /** Kills the unit. */
  signal: AbortSignal;
};

/**
 * Executes one order in a process of its own. The process reads files and runs tools; the model is
 * asked, the files are written and the caps are held here.
 * @throws {MODEL_ERROR} · {MODEL_QUOTA} · {TIMEOUT} · {BUDGET_EXCEEDED} · {TOOL_POLICY_VIOLATION}
 * · {PAYLOAD_TOO_LARGE} · the reason of `signal`
 */
export async function executeOrder(
  tools: AttemptTools,
  attempt: Attempt,
  { order, calls, toolLog, stages, signal }: UnitRun,
): Promise<Outcome> {
  const { provider, defaultModel } = tools.model;
  const { workspace } = attempt;
  const caps = capsOf(order);
  const host = await tools.units();
  const conversation = createConversation({
    order,
    model: modelOf(order) ?? defaultModel,
    caps,
    offersTools: provider.tools === true,
    call: calls.call,
  });
  const outputs = createOutputs(order, async (files) => {
    signal.throwIfAborted();
    await workspace.writeFiles(files);
  });
  const end = await runUnit(
    host,
    taskOf(order, workspace.root, caps),
    {
      ask: async (asked) => {
        stages.enter('calling_model');
        const next = await conversation.ask(asked);
        stages.enter(next.kind === 'calls' ? 'using_tools' : 'writing_artifacts');
        return next;
      },
      write: outputs.write,
      toolCalled: toolLog.add,
    },
    signal,
  );
  const notes = [
    ...notesOf(end),
    ...conversation.notes(),
    ...(host.isolation.network ? [] : [host.isolation.notice]),
  ];
  if (end.kind === 'done') {
    const summary = conversation.summary();
    return { status: 'completed', summary, artifacts: outputs.artifacts(), notes };
  }
  const stage = stages.current();
  const message = end.reason.slice(0, REASON_CHARS);
  const failure = { code: BLOCKED, message, stage, retryable: true };
  return { status: 'failed', failure, notes: [...notes, `Blocked: ${message}`] };
}

const REASON_CHARS = 1_000;

function notesOf(end: UnitEnd): string[] {
  return end.kind === 'done' ? end.notes : [];
}
