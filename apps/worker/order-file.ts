import {
  AppError,
  invalid,
  isAppError,
  type JobMessage,
  type OrderFile,
  orderFile,
  parse,
} from '#libs/contracts';

const ORDER_PATH = 'order.json';
const ORDER_BYTES_MAX = 1024 * 1024;

/**
 * Reads order.json; what it leaves open (profile, constraints, tool policy) the job fills in.
 * @throws {INVALID_REQUEST} missing, not JSON, of the wrong shape, or of another order
 */
export async function readOrder(
  readFile: (path: string, maxBytes: number) => Promise<Uint8Array>,
  job: JobMessage,
): Promise<OrderFile> {
  let text: string;
  try {
    text = new TextDecoder().decode(await readFile(ORDER_PATH, ORDER_BYTES_MAX));
  } catch (error) {
    if (!isAppError(error)) throw error;
    throw invalid(ORDER_PATH, `cannot be read: ${error.message}`);
  }
  return parseOrder(text, job);
}

/** As `readOrder`, of a text. */
export function parseOrder(text: string, job: JobMessage): OrderFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(ORDER_PATH, `is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(ORDER_PATH, 'must be an object');
  }
  const given = value as { constraints?: unknown; profile?: unknown };
  const order = within(() =>
    parse(orderFile, {
      ...value,
      profile: given.profile ?? job.profile,
      constraints: mergeConstraints(given.constraints, job),
    }),
  );
  if (order.order_id !== job.order_id) {
    throw invalid(`${ORDER_PATH}: order_id`, `is ${order.order_id}, the job's is ${job.order_id}`);
  }
  return order;
}

function mergeConstraints(given: unknown, job: JobMessage): unknown {
  if (given !== undefined && (typeof given !== 'object' || given === null)) return given;
  return { ...job.constraints, ...(job.tool_policy && { tool_policy: job.tool_policy }), ...given };
}

/** The field of an error is told as one of order.json. */
function within<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!isAppError(error)) throw error;
    const reason = `${ORDER_PATH}: ${error.message}`;
    throw new AppError('INVALID_REQUEST', { reason }, { field: `${ORDER_PATH}: ${error.field}` });
  }
}
