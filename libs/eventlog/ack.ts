import type { Msg } from 'nats';
import { LEDGER_STREAM } from './subjects.ts';

/** What the broker said to one publish. */
export type Ack =
  | { kind: 'stored'; seq: number; duplicate: boolean }
  /** Taken as part of a batch that is not committed yet. */
  | { kind: 'held' }
  /** Certainly not stored by this publish. */
  | { kind: 'refused'; errCode: number; description: string }
  /** No answer in time, or the connection broke: it may or may not be stored. */
  | { kind: 'unknown'; reason: string };

export type Refusal = Extract<Ack, { kind: 'refused' }>;

/** JetStream error codes that an append meets (nats-server errors.json), and two of our own. */
export const CODES = {
  /** "wrong last sequence: N" */
  wrongLastSequence: 10071,
  /** "wrong last sequence" without a number: a write to the subject is in flight (R3). */
  wrongLastSequenceInFlight: 10164,
  /** A message of this id is in flight (R3). */
  duplicateInFlight: 10158,
  /** The version of the subject cannot be told just now. */
  versionNotReady: 10163,
  tooManyRequests: 10167,
  tooBig: 10054,
  storeFailed: 10077,
  /** The batch holds an id that is stored. */
  batchDuplicate: 10201,
  /** Some of the batch got lost, or the server gave it up. */
  batchIncomplete: 10176,
  batchTooManyOpen: 10210,
  /** Ours: no stream listens, or it has no leader. */
  noResponders: 503,
  /** Ours: it never left this process. */
  notSent: 1,
} as const;

const decoder = new TextDecoder();

/** Reads an answer to a publish; whatever is no answer of that stream is `unknown`. */
export function parseAck(msg: Pick<Msg, 'headers' | 'data'>, stream: string = LEDGER_STREAM): Ack {
  const code = msg.headers?.code ?? 0;
  if (code === 503) return refusal(CODES.noResponders, 'no stream listens, or it has no leader');
  if (code !== 0) return { kind: 'unknown', reason: `status ${code}` };
  if (msg.data.length === 0) return { kind: 'held' };
  const body = parseBody(msg.data);
  if (typeof body?.error === 'object' && body.error !== null) {
    const { err_code, code: status, description } = body.error;
    return refusal(err_code ?? status ?? 0, description ?? '');
  }
  if (body?.stream !== stream || !Number.isSafeInteger(body.seq) || Number(body.seq) < 1) {
    return { kind: 'unknown', reason: `the answer is none of ${stream}` };
  }
  return { kind: 'stored', seq: Number(body.seq), duplicate: body.duplicate === true };
}

type AckBody = {
  stream?: unknown;
  seq?: unknown;
  duplicate?: unknown;
  error?: { err_code?: number; code?: number; description?: string } | null;
};

function parseBody(data: Uint8Array): AckBody | null {
  try {
    return JSON.parse(decoder.decode(data)) as AckBody | null;
  } catch {
    // Not JSON is not an answer; the caller says so.
    return null;
  }
}

export function refusal(errCode: number, description: string): Refusal {
  return { kind: 'refused', errCode, description };
}
