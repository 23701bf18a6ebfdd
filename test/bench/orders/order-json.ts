/** The order.json of every order of the bench. */
export function orderJson(theaterId: string, orderId: string): string {
  return JSON.stringify({
    order_id: orderId,
    theater_id: theaterId,
    type: 'draft',
    objective: 'Do nothing',
    inputs: {},
    constraints: { budget_seconds: 60, max_retries: 1 },
  });
}
