import { API } from '#libs/contracts';
import { healthHandler, type RunningRole, type RoleContext } from '#libs/runtime';
import { defineService } from '#libs/service';
import { liveEvents } from '#libs/eventlog';
import { chat } from './chat.ts';
import { readRun } from './runs.ts';

/** The user's entrance: chat, and reads that other roles answer. It writes no event itself. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { client, broker, log } = context;
  const service = defineService(API.gateway, {
    chat: (input, ctx) => chat(context, input, ctx),
    run: ({ run_id, at_least }) => readRun(context, run_id, at_least),
    order: (input) => client.call(API.ledger.order, input),
    runs: (input) => client.call(API.ledger.runs, input),
    orders: (input) => client.call(API.ledger.orders, input),
    events: (input) => client.call(API.ledger.events, input),
    cancelRun: (input) => client.call(API.co.cancelRun, input),
    feedback: (input) => client.call(API.co.feedback, input),
    escalations: (input) => client.call(API.ledger.escalations, input),
    ackEscalation: (input) => client.call(API.co.ackEscalation, input),
    approve: (input) => client.call(API.co.approve, input),
    deny: (input) => client.call(API.co.deny, input),
    stream: (input, ctx) => liveEvents(broker, log.garrisonId, input, ctx.signal),
    health: healthHandler(context, 'gateway'),
  });
  return { service, close: async () => {} };
}
