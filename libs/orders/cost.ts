/** Money and tokens spent. */
export type Cost = { micro_usd: number; input_tokens: number; output_tokens: number };

export const NO_COST: Cost = { micro_usd: 0, input_tokens: 0, output_tokens: 0 };

/** The fields with which payloads report a cost. */
export type Spent = {
  cost_micro_usd?: number | undefined;
  usage?: { input_tokens: number; output_tokens: number } | undefined;
};

/** The cost that a payload reports; zero where it reports none. */
export function costOf({ cost_micro_usd: micro_usd = 0, usage }: Spent): Cost {
  return {
    micro_usd,
    input_tokens: usage?.input_tokens ?? 0,
    output_tokens: usage?.output_tokens ?? 0,
  };
}

/** True where a payload reports a cost at all. */
export function hasCost(payload: Spent): boolean {
  return payload.cost_micro_usd !== undefined || payload.usage !== undefined;
}

/** Adds up two costs. */
export function addCost(a: Cost, b: Cost): Cost {
  return {
    micro_usd: a.micro_usd + b.micro_usd,
    input_tokens: a.input_tokens + b.input_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
  };
}

/** What `total` holds beyond `known`, never negative. */
export function costBeyond(total: Cost, known: Cost): Cost {
  return {
    micro_usd: Math.max(0, total.micro_usd - known.micro_usd),
    input_tokens: Math.max(0, total.input_tokens - known.input_tokens),
    output_tokens: Math.max(0, total.output_tokens - known.output_tokens),
  };
}
