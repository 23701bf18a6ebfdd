import { type AarFile, aarFile, type OrderFile, parse, type Usage, usage } from '#libs/contracts';
import type { Artifact } from '#libs/orders';
import { z } from 'zod';
import { BLOCKED, type Failure } from './failure.ts';
import type { ToolEntry } from './tool-log.ts';

/** An artifact that was written, with its digest. */
export type WrittenArtifact = Required<Artifact>;

/** What the model calls of one attempt have come to. */
export type Spent = {
  usage: Usage;
  costMicroUsd: number;
  promptSha256?: string;
  responseSha256?: string;
};

/** Which model was asked, and which one answered where that is another. */
export type ModelUsed = {
  provider: string;
  name: string;
  temperature?: number;
  answered_by?: string;
};

/** All that there is to tell about one attempt at an order. */
export type Report = {
  order: Pick<OrderFile, 'order_id' | 'run_id' | 'theater_id'>;
  attempt: number;
  unitId: string;
  startedAt: Date;
  endedAt: Date;
  model: ModelUsed;
  spent: Spent;
  notes: readonly string[];
  toolCalls: readonly ToolEntry[];
} & (
  | { status: 'completed'; summary: string; artifacts: readonly WrittenArtifact[] }
  | { status: 'failed'; failure: Failure }
);

/** Name of the report in a worktree. */
export const AAR_PATH = 'aar.json';

const SUMMARY_CHARS = 500;

/** The report as aar.json has it. */
export function aarOf(report: Report): AarFile {
  const { order, startedAt, endedAt, spent } = report;
  const completed = report.status === 'completed';
  return parse(aarFile, {
    order_id: order.order_id,
    run_id: order.run_id ?? null,
    theater_id: order.theater_id ?? null,
    attempt: report.attempt,
    unit_id: report.unitId,
    status: report.status,
    started_at: startedAt.toISOString(),
    completed_at: endedAt.toISOString(),
    duration_ms: endedAt.getTime() - startedAt.getTime(),
    summary: completed ? report.summary : failureSummary(report.failure),
    artifacts: completed ? report.artifacts : [],
    model: report.model,
    usage: spent.usage,
    cost_micro_usd: spent.costMicroUsd,
    ...(spent.promptSha256 && { prompt_sha256: spent.promptSha256 }),
    ...(spent.responseSha256 && { response_sha256: spent.responseSha256 }),
    ...(!completed && { error: errorOf(report.failure) }),
    tool_calls: report.toolCalls,
    notes: report.notes,
    next_recommendations: recommendations(report),
  });
}

function recommendations(report: Report): string[] {
  const blocked = report.status === 'failed' && report.failure.code === BLOCKED;
  return blocked ? [`Clear the blocker: ${report.failure.message}`] : [];
}

const artifact = z.object({
  path: z.string(),
  type: z.string(),
  sha256: z.string(),
  bytes: z.int().min(0),
});

/** What our own reports hold beyond what every aar.json must. */
const ownReport = aarFile.extend({
  run_id: z.string().nullable(),
  theater_id: z.string().nullable(),
  attempt: z.int().min(1),
  unit_id: z.string(),
  started_at: z.iso.datetime(),
  artifacts: z.array(artifact),
  usage,
  tool_calls: z.array(z.looseObject({ index: z.int(), command: z.string() })).default([]),
  cost_micro_usd: z.int().min(0),
  prompt_sha256: z.string().optional(),
  response_sha256: z.string().optional(),
  error: z
    .object({
      code: z.string(),
      message: z.string(),
      stage: z.string(),
      retryable: z.boolean(),
      reset_at: z.string().optional(),
    })
    .optional(),
});

/** Reads a report back from what `aarOf` made; undefined where a value is none. */
export function reportFrom(value: unknown): Report | undefined {
  const parsed = ownReport.safeParse(value);
  if (!parsed.success) return undefined;
  const aar = parsed.data;
  const { order_id, run_id, theater_id, prompt_sha256, response_sha256, error } = aar;
  const base = {
    order: { order_id, run_id, theater_id },
    attempt: aar.attempt,
    unitId: aar.unit_id,
    startedAt: new Date(aar.started_at),
    endedAt: new Date(aar.completed_at),
    model: aar.model as ModelUsed,
    spent: {
      usage: aar.usage,
      costMicroUsd: aar.cost_micro_usd,
      ...(prompt_sha256 !== undefined && { promptSha256: prompt_sha256 }),
      ...(response_sha256 !== undefined && { responseSha256: response_sha256 }),
    },
    notes: aar.notes.filter((note) => typeof note === 'string'),
    toolCalls: aar.tool_calls as unknown as ToolEntry[],
  };
  const { summary, artifacts } = aar;
  if (aar.status === 'completed') return { ...base, status: 'completed', summary, artifacts };
  if (error === undefined) return undefined;
  const { reset_at, ...rest } = error;
  const failure = { ...rest, ...(reset_at !== undefined && { resetAt: reset_at }) };
  return { ...base, status: 'failed', failure };
}

function failureSummary({ stage, message }: Failure): string {
  return `Failed while ${stage.replaceAll('_', ' ')}: ${message}`.slice(0, SUMMARY_CHARS);
}

function errorOf({ resetAt, ...failure }: Failure): Record<string, unknown> {
  return { ...failure, ...(resetAt !== undefined && { reset_at: resetAt }) };
}

/** The first sentences of a Markdown text, without its headings, at most 500 characters. */
export function summaryOf(text: string): string {
  const plain = text
    .split('\n')
    .filter((line) => !/^\s*(#{1,6}\s|```|~~~|([-*_]\s*){3,}$)/.test(line))
    .join(' ')
    .replace(/\s+/g, ' ')
    .trim();
  if (plain.length <= SUMMARY_CHARS) return plain;
  const head = plain.slice(0, SUMMARY_CHARS);
  const end = Math.max(head.lastIndexOf('. '), head.lastIndexOf('! '), head.lastIndexOf('? '));
  // Half a pair of surrogates would not be a character.
  return end > 0 ? head.slice(0, end + 1) : `${head.slice(0, SUMMARY_CHARS - 2).toWellFormed()}…`;
}
