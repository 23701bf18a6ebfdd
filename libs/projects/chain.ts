import { canonicalJson, sha256Hex } from './canonical.ts';
import { isIsoTime, isObject, type Json } from './text.ts';

/** One entry of a hash chain: its hash is of everything else in it, the hash before included. */
export type ChainEntry = {
  /** From 0, without gaps. */
  sequence: number;
  type: string;
  payload: unknown;
  /** Never earlier than the entry before. */
  timestamp: string;
  actor_id: string;
  /** Hash of the entry before; 64 zeros at the first. */
  prev_hash: string;
  hash: string;
  /** Further keys are hashed too. */
  [key: string]: unknown;
};

/** Where a chain stands. */
export type ChainHead = { entries: number; head: string; at: string | null };

export const GENESIS_HASH = '0'.repeat(64);
export const EMPTY_CHAIN: ChainHead = { entries: 0, head: GENESIS_HASH, at: null };

export type ChainFault =
  | 'NOT_AN_ENTRY'
  | 'SEQUENCE_GAP'
  | 'PREVIOUS_HASH'
  | 'TIME_RUNS_BACK'
  | 'HASH_MISMATCH'
  /** Fewer entries than the stored head counts. */
  | 'CUT'
  /** As many entries, each right in itself, but another hash where the stored head stood. */
  | 'REWRITTEN';

export type ChainReport = {
  valid: boolean;
  entries: number;
  /** Sequence of the first entry that is wrong, or that is missing. */
  broken_at: number | null;
  fault: ChainFault | null;
  head: string;
};

/** What an entry's hash is made of: all of it but the hash. */
export function entryHash(entry: Json): string {
  const { hash: _hash, ...content } = entry;
  return sha256Hex(canonicalJson(content));
}

/**
 * The next entry of a chain.
 * @throws {RangeError} the time is earlier than that of the entry before
 */
export function nextEntry(
  chain: ChainHead,
  fields: { type: string; payload: unknown; timestamp: string; actor_id: string } & Json,
): ChainEntry {
  if (chain.at !== null && fields.timestamp < chain.at) {
    throw new RangeError(`an entry of ${fields.timestamp} cannot follow one of ${chain.at}`);
  }
  const entry = { ...fields, sequence: chain.entries, prev_hash: chain.head };
  return { ...entry, hash: entryHash(entry) };
}

/** The chain with one more entry. */
export function headAfter({ sequence, hash, timestamp }: ChainEntry): ChainHead {
  return { entries: sequence + 1, head: hash, at: timestamp };
}

/**
 * Looks through a whole chain, and compares it with a head that was stored elsewhere: only that
 * shows a tail that was cut off. Never throws.
 */
export function verifyChain(
  entries: Iterable<unknown>,
  stored?: { entries: number; head: string },
): ChainReport {
  let chain = EMPTY_CHAIN;
  let count = 0;
  let fault: ChainFault | null = null;
  let broken_at: number | null = null;
  let rewritten = false;
  for (const entry of entries) {
    count += 1;
    if (fault !== null) continue;
    fault = faultOf(entry, chain);
    if (fault !== null) {
      broken_at = chain.entries;
      continue;
    }
    chain = headAfter(entry as ChainEntry);
    if (stored?.entries === chain.entries && stored.head !== chain.head) rewritten = true;
  }
  if (fault === null && stored !== undefined) {
    if (rewritten) [fault, broken_at] = ['REWRITTEN', stored.entries - 1];
    else if (count < stored.entries) [fault, broken_at] = ['CUT', count];
  }
  return { valid: fault === null, entries: count, broken_at, fault, head: chain.head };
}

function faultOf(entry: unknown, chain: ChainHead): ChainFault | null {
  if (!isObject(entry) || !isIsoTime(entry.timestamp)) return 'NOT_AN_ENTRY';
  if (entry.sequence !== chain.entries) return 'SEQUENCE_GAP';
  if (entry.prev_hash !== chain.head) return 'PREVIOUS_HASH';
  if (chain.at !== null && entry.timestamp < chain.at) return 'TIME_RUNS_BACK';
  return entry.hash === entryHash(entry) ? null : 'HASH_MISMATCH';
}
