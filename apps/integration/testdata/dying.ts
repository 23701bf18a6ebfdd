import { connectBroker } from '#libs/broker';
import { openEventLog } from '#libs/eventlog';
import {
  configFromEnv,
  createOrderCommands,
  createTheaterDirectory,
  type OrderCommands,
  type RoleContext,
} from '#libs/runtime';
import { pino } from 'pino';
import { createCommandGates } from '../command-gate.ts';
import { createGates } from '../gates.ts';
import { integrateOrder } from '../integrate.ts';
import { loadGateProfiles } from '../profiles.ts';

// Integrates one order and dies (SIGKILL) before its nth decision is told; 0: does not die; -1: dies
// once its gates have passed, before the merge. It begins when a line comes in, so that several can begin at once.
const [url = '', theater_id = '', order_id = '', dieAt = '0'] = process.argv.slice(2);

const logger = pino({ level: 'silent' });
const config = configFromEnv({ IRONCLAW_GARRISON: 'test' });
const broker = await connectBroker({ url, name: 'dying', logger });
const log = openEventLog({ broker, garrisonId: config.garrisonId });
const theaters = createTheaterDirectory(broker, config.garrisonId);
const orders = createOrderCommands(log);
let decisions = 0;
const dying: OrderCommands = {
  load: (...args) => orders.load(...args),
  decide: (...args) => {
    decisions += 1;
    if (decisions === Number(dieAt)) process.kill(process.pid, 'SIGKILL');
    const done = orders.decide(...args);
    // Between the second decision and the merge there is nothing but a look at the order.
    if (decisions !== 2 || dieAt !== '-1') return done;
    return done.finally(() => process.kill(process.pid, 'SIGKILL'));
  },
};
// The profile of this test has no gate that asks other roles.
const nobody = () => Promise.reject(new Error('there is no projects role'));
const gates = createGates(await loadGateProfiles(), createCommandGates(logger, []), nobody);
const context = { broker, log, theaters, config } as RoleContext;
process.stdout.write('ready\n');
process.stdin.once('data', () => {
  void integrate().then((answer) => {
    process.stdout.write(`${JSON.stringify(answer)}\n`);
    process.exit(0);
  });
});

async function integrate(): Promise<Record<string, unknown>> {
  const input = { theater_id, order_id, gate_profile: 'default' };
  try {
    const { commit_sha, duplicate } = await integrateOrder(context, dying, gates, input);
    return { commit_sha, duplicate };
  } catch (error) {
    return { code: (error as { code?: string }).code ?? String(error) };
  }
}
