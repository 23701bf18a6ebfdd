import { SMALL_TALK } from './cues.ts';
import type { Sentence } from './text.ts';

/** The graph is built over this many sentences at most, so ranking stays linear in the text. */
const GRAPH_SENTENCES = 300;
const ROUNDS = 20;
const DAMPING = 0.85;

/** A sentence with its weight in the text, above 0, comparable within one ranking. */
export type Ranked = { sentence: Sentence; score: number };

type Vector = Map<string, number>;

/**
 * Ranks sentences by how much of the text they carry: closeness to the whole text picks the
 * candidates, a graph of shared words ranks them, facts and position weigh in, best first.
 *
 * `queryTokens` (what the objective asks about) raise the sentences that hold them.
 */
export function rankSentences(
  all: readonly Sentence[],
  queryTokens: readonly string[] = [],
): Ranked[] {
  const sentences = all.filter(({ tokens }) => tokens.length > 0);
  const vectors = vectorsOf(sentences);
  const centroid = sum(vectors);
  const query = new Set(queryTokens);
  const first = sentences.map((sentence, index) => ({
    sentence,
    vector: vectors[index]!,
    score: dot(vectors[index]!, centroid) * weightOf(sentence, query),
  }));
  const candidates = first
    .sort((a, b) => b.score - a.score || a.sentence.order - b.sentence.order)
    .slice(0, GRAPH_SENTENCES);
  const central = centrality(candidates.map(({ vector }) => vector));
  return candidates
    .map(({ sentence }, index) => ({
      sentence,
      score: central[index]! * weightOf(sentence, query),
    }))
    .sort((a, b) => b.score - a.score || a.sentence.order - b.sentence.order);
}

/**
 * Takes the best `count` that do not repeat each other (or `taken`), in rank order: each choice
 * weighs a sentence's score against its likeness to what is already chosen.
 */
export function pickDiverse(
  ranked: readonly Ranked[],
  count: number,
  taken: readonly Sentence[] = [],
): Sentence[] {
  const top = ranked[0]?.score ?? 1;
  const pool = ranked.slice(0, GRAPH_SENTENCES).map((entry) => ({
    ...entry,
    like: Math.max(0, ...taken.map((other) => likeness(entry.sentence, other))),
  }));
  const chosen: Sentence[] = [];
  while (chosen.length < count) {
    let best: (typeof pool)[number] | undefined;
    let bestValue = Number.NEGATIVE_INFINITY;
    for (const entry of pool) {
      const value = entry.score / top - 0.7 * entry.like;
      if (entry.like < 0.6 && value > bestValue) [best, bestValue] = [entry, value];
    }
    if (best === undefined) break;
    chosen.push(best.sentence);
    for (const entry of pool) {
      entry.like = Math.max(entry.like, likeness(entry.sentence, best.sentence));
    }
  }
  return chosen;
}

/** Shared words of two sentences over the words of the shorter one, 0 to 1. */
export function likeness(a: Sentence, b: Sentence): number {
  if (a === b) return 1;
  const [small, large] = a.tokens.length <= b.tokens.length ? [a, b] : [b, a];
  const words = new Set(small.tokens);
  const others = new Set(large.tokens);
  let shared = 0;
  for (const word of words) if (others.has(word)) shared += 1;
  return words.size === 0 ? 0 : shared / words.size;
}

function weightOf({ text, tokens, speaker }: Sentence, query: ReadonlySet<string>): number {
  let weight = 1;
  if (tokens.length < 4) weight *= 0.3;
  else if (tokens.length < 6) weight *= 0.6;
  if (tokens.length > 30) weight *= 0.7;
  if (text.endsWith('?')) weight *= 0.3;
  if (/\d/.test(text)) weight *= 1.25;
  if (/[€$£%]|\b(percent|euros?|dollars?|usd|eur|million|billion)\b/i.test(text)) weight *= 1.15;
  if (/\b(because|cause|therefore|decided|agreed|result|important|must|in short)\b/i.test(text)) {
    weight *= 1.2;
  }
  if (speaker !== undefined && SMALL_TALK.test(text)) weight *= 0.15;
  const asked = tokens.filter((token) => query.has(token)).length;
  return weight * (1 + 0.5 * Math.min(asked, 4));
}

/** One TF-IDF vector of length 1 per sentence. */
function vectorsOf(sentences: readonly Sentence[]): Vector[] {
  const spread = new Map<string, number>();
  for (const { tokens } of sentences) {
    for (const token of new Set(tokens)) spread.set(token, (spread.get(token) ?? 0) + 1);
  }
  return sentences.map(({ tokens }) => {
    const vector: Vector = new Map();
    for (const token of tokens) vector.set(token, (vector.get(token) ?? 0) + 1);
    let square = 0;
    for (const [token, count] of vector) {
      const value = (1 + Math.log(count)) * Math.log(1 + sentences.length / spread.get(token)!);
      vector.set(token, value);
      square += value * value;
    }
    const length = Math.sqrt(square) || 1;
    for (const [token, value] of vector) vector.set(token, value / length);
    return vector;
  });
}

function sum(vectors: readonly Vector[]): Vector {
  const total: Vector = new Map();
  for (const vector of vectors) {
    for (const [token, value] of vector) total.set(token, (total.get(token) ?? 0) + value);
  }
  return total;
}

function dot(a: Vector, b: Vector): number {
  const [small, large] = a.size <= b.size ? [a, b] : [b, a];
  let total = 0;
  for (const [token, value] of small) total += value * (large.get(token) ?? 0);
  return total;
}

/** Centrality in the graph whose edges are likenesses, by power iteration. */
function centrality(vectors: readonly Vector[]): number[] {
  const size = vectors.length;
  const edges = vectors.map((a, i) => vectors.map((b, j) => (i === j ? 0 : dot(a, b))));
  const out = edges.map((row) => row.reduce((total, value) => total + value, 0));
  let scores = vectors.map(() => 1);
  for (let round = 0; round < ROUNDS; round += 1) {
    const shares = scores.map((score, i) => (out[i]! > 0 ? score / out[i]! : 0));
    scores = Array.from({ length: size }, (_, i) => {
      let received = 0;
      for (let j = 0; j < size; j += 1) received += edges[j]![i]! * shares[j]!;
      return 1 - DAMPING + DAMPING * received;
    });
  }
  return scores;
}
