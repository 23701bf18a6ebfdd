import { putObject } from '#libs/broker';
import { API, AppError, type InputOf, type InputRef, isAppError, LIMITS } from '#libs/contracts';
import { ledgerSubject } from '#libs/eventlog';
import type { RoleContext } from '#libs/runtime';
import type { Ctx } from '#libs/service';
import { readRun } from './runs.ts';

type ChatInput = InputOf<typeof API.gateway.chat>;

/** The user's text lies in the worktrees under this name; it never stands in an event. */
export const MESSAGE_FILE = 'message.md';
const OBJECTIVE_CHARS = 120;
/** A terminal event may be missed while the connection is away: then looking helps. */
const POLL_MS = 1_000;
/** After a hint the view needs a moment to have the event as well. */
const AFTER_HINT_MS = 5;

/**
 * POST /chat: stores the text, creates a run that goes all the way by itself, and, in sync mode,
 * waits for its reply. A wait that is over answers as async does; the run goes on.
 */
export async function chat(context: RoleContext, input: ChatInput, ctx: Ctx) {
  const requestId = input.request_id ?? idempotencyKey(ctx);
  const run = await context.client.call(API.co.createRun, {
    objective: objectiveOf(input.message),
    inputs: await storeInputs(context, input),
    theater_hint: input.theater_hint ?? context.config.defaultTheater,
    autopilot: true,
    ...(input.user_id !== undefined && { user_id: input.user_id }),
    ...(input.playbook !== undefined && { playbook: input.playbook }),
    ...(input.variables !== undefined && { variables: input.variables }),
    ...(input.settings !== undefined && { settings: input.settings }),
    ...(input.governance !== undefined && { governance: input.governance }),
    ...(requestId !== undefined && { request_id: requestId }),
  });
  const { run_id } = run;
  // Async looks once as well: who was told of a run can read it, and a resent request finds its end.
  const waitMs = input.mode === 'sync' ? input.wait_ms : 0;
  const done = await waitForEnd(context, run, waitMs, ctx.signal);
  if (done === undefined) return { run_id, status: 'OPEN' as const };
  const { status, reply, summary, artifacts } = done;
  return { run_id, status, reply: reply ?? summary, artifacts };
}

/** The first line, short: enough to recognise a run in a list. */
function objectiveOf(message: string): string {
  const line = message.trim().split('\n', 1)[0] as string;
  if (line.length <= OBJECTIVE_CHARS) return line;
  // Cut between characters as people see them, not in the middle of one.
  const start = line.slice(0, OBJECTIVE_CHARS - 1);
  const last = [...new Intl.Segmenter().segment(line.slice(0, OBJECTIVE_CHARS + 50))]
    .map(({ index }) => index)
    .findLast((index) => index <= start.length);
  return `${line.slice(0, last)}…`;
}

function idempotencyKey(ctx: Ctx): string | undefined {
  const key = ctx.headers('idempotency-key');
  if (key === undefined) return undefined;
  if (key.length >= 1 && key.length <= 256) return key;
  throw new AppError(
    'INVALID_REQUEST',
    { reason: 'Idempotency-Key: must be 1 to 256 characters' },
    { field: 'Idempotency-Key' },
  );
}

async function storeInputs(context: RoleContext, input: ChatInput): Promise<InputRef[]> {
  const files = [{ name: MESSAGE_FILE, text: input.message }, ...(input.inputs ?? [])];
  if (files.length > LIMITS.inputFiles) {
    throw new AppError(
      'PAYLOAD_TOO_LARGE',
      { what: 'list of inputs', limit: LIMITS.inputFiles - 1 },
      { field: 'inputs' },
    );
  }
  const names = new Set<string>();
  const refs: InputRef[] = [];
  for (const [index, { name, text }] of files.entries()) {
    if (names.has(name)) {
      const field = `inputs[${index - 1}].name`;
      throw new AppError('INVALID_REQUEST', { reason: `${field}: is used twice` }, { field });
    }
    names.add(name);
    const { sha256, bytes } = await putObject(context.broker, new TextEncoder().encode(text));
    refs.push({ name, sha256, bytes });
  }
  return refs;
}

/** Where a run is, and the sequence from which on the views know it. */
type CreatedRun = { run_id: string; theater_id: string; seq: number };

/** The run once it has ended; undefined if that takes longer than `waitMs`. */
async function waitForEnd(
  context: RoleContext,
  { seq, ...run }: CreatedRun,
  waitMs: number,
  signal: AbortSignal,
) {
  const { broker, config } = context;
  const deadline = performance.now() + waitMs;
  let wake: () => void = () => {};
  // The message is a hint that something was written to the run; what counts is what was stored.
  const subject = ledgerSubject({ garrison_id: config.garrisonId, ...run });
  const subscription = broker.nc.subscribe(subject, { callback: () => wake() });
  const stop = (): void => wake();
  signal.addEventListener('abort', stop);
  let pauseMs = POLL_MS;
  try {
    for (;;) {
      const hinted = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const state = await readKnown(context, run.run_id, seq);
      if (state !== undefined && state.status !== 'OPEN') return state;
      const left = deadline - performance.now();
      if (left <= 0 || signal.aborted) return undefined;
      const woken = await withTimeout(hinted, Math.min(pauseMs, left));
      pauseMs = woken ? AFTER_HINT_MS : Math.min(POLL_MS, 2 * pauseMs);
    }
  } finally {
    signal.removeEventListener('abort', stop);
    subscription.unsubscribe();
  }
}

/** The run as the views have it; undefined while they are behind: the run goes on all the same. */
async function readKnown(context: RoleContext, runId: string, seq: number) {
  try {
    return await readRun(context, runId, seq);
  } catch (error) {
    if (isAppError(error, 'VIEW_BEHIND')) return undefined;
    throw error;
  }
}

/** True if the promise was first. */
async function withTimeout(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const first = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return first;
}
