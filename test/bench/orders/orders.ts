import type { BenchOptions } from '../options.ts';
import type { Row } from '../report.ts';
export async function benchOrders(
  _options: BenchOptions,
  _say: (text: string) => void,
): Promise<Row[]> {
  return [];
}
