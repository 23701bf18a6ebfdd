import { parse } from '#libs/contracts';
import { z } from 'zod';

const MAX_MODELS = 1_000;

const priceTable = z
  .record(
    z.string().min(1).max(256),
    z.strictObject({ input: z.number().min(0), output: z.number().min(0) }),
  )
  .refine((table) => Object.keys(table).length <= MAX_MODELS, `at most ${MAX_MODELS} models`);

/** Model name to micro-USD per million tokens, input and output apart. */
export type PriceTable = z.output<typeof priceTable>;

/**
 * Reads IRONCLAW_MODEL_PRICES, as `{"some/model": {"input": 130000, "output": 380000}}`.
 *
 * @throws {INVALID_REQUEST} not JSON, or not of that shape; the field names the place
 */
export function readPrices(text: string | undefined): PriceTable {
  if (text === undefined || text.trim() === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The value is not shown: it could be something else that was pasted by mistake.
    value = 'not JSON';
  }
  return parse(priceTable, value, 'IRONCLAW_MODEL_PRICES');
}

/** Cost of one answer in whole micro-USD, rounded up; 0 for a model without a price. */
export function costMicroUsd(
  prices: PriceTable,
  model: string,
  usage: { input_tokens: number; output_tokens: number },
): number {
  const price = Object.hasOwn(prices, model) ? prices[model] : undefined;
  if (price === undefined) return 0;
  const total = usage.input_tokens * price.input + usage.output_tokens * price.output;
  return Math.ceil(total / 1_000_000);
}
