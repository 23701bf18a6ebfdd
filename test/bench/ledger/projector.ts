import { AckPolicy, DeliverPolicy } from '@nats-io/jetstream';
import { pino } from 'pino';
import { type Broker, toNanos } from '#libs/broker';
import { LEDGER_STREAM } from '#libs/eventlog';
import { followLedger } from '#libs/runtime';
import { openLedgerViews } from '../../../apps/ledger/views/views.ts';
import { openLab } from '../lab.ts';
import { pairRow, type Row, type RowText } from '../report.ts';
import { inPairs, median, perSecond, type Side } from '../stats.ts';
import { fillLedger } from './fill.ts';
import type { Plan } from './plan.ts';

/** Far more than it takes; a projector that stands still must not hold the bench up. */
const CATCH_UP_MS = 120_000;
/** Messages under way of a consumer that nobody has tuned, and of our own cursor. */
const WINDOW_DEFAULT = 100;
const WINDOW_OURS = 4_000;
const GOAL = 0.4;

/**
 * Reading the whole ledger with JSON.parse, against building all views of the ledger role; once with
 * the client library as it comes, once with as many messages under way as we have.
 */
export async function benchProjector(plan: Plan): Promise<Row[]> {
  await using lab = openLab(plan.sync);
  const server = await lab.broker();
  const reader = await server.connect();
  const own = await server.connect();
  const events = await fillLedger(reader, plan.projectorEvents);

  const against = async (window: number, text: Pick<RowText, 'id' | 'what'>): Promise<Row> => {
    const cpu = { raw: [] as number[], ours: [] as number[] };
    const raw = () => withCpu(cpu.raw, events, () => consumeRaw(reader, events, window));
    const ours = async () => {
      const folder = await lab.folder();
      return withCpu(cpu.ours, events, () => buildViews(own, events, folder));
    };
    const warmUp = async (): Promise<void> => {
      await raw();
      await ours();
    };
    const pairs = await inPairs(plan.projectorPairs, raw, ours, warmUp, plan.projectorBudgetMs);
    const micros = (values: number[]) => median(values).toFixed(1);
    const note = `${events} events; µs of CPU an event: raw ${micros(cpu.raw)}, ours ${micros(cpu.ours)}`;
    return pairRow({ ...text, unit: 'events/s', goal: GOAL, note }, pairs);
  };
  return [
    await against(WINDOW_DEFAULT, { id: 'projector', what: 'projector, raw as it comes' }),
    await against(WINDOW_OURS, { id: 'projector-tuned', what: 'projector, raw with our window' }),
  ];
}

async function withCpu(seen: number[], events: number, work: Side): Promise<number> {
  const before = process.cpuUsage();
  const rate = await work();
  const { user, system } = process.cpuUsage(before);
  seen.push((user + system) / events);
  return rate;
}

async function consumeRaw(
  { js, jsm }: Broker,
  events: number,
  max_messages: number,
): Promise<number> {
  const { name } = await jsm.consumers.add(LEDGER_STREAM, {
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.All,
    inactive_threshold: toNanos(60_000),
    mem_storage: true,
  });
  const consumer = await js.consumers.get(LEDGER_STREAM, name);
  const startedAt = performance.now();
  const messages = await consumer.consume({ max_messages });
  let count = 0;
  for await (const message of messages) {
    // Something is done with what was parsed, or it need not be.
    if (message.json<{ type: string }>().type !== '') count += 1;
    if (count === events) break;
  }
  const rate = perSecond(count, performance.now() - startedAt);
  await jsm.consumers.delete(LEDGER_STREAM, name);
  return rate;
}

async function buildViews(broker: Broker, events: number, folder: string): Promise<number> {
  const logger = pino({ level: 'silent' });
  const startedAt = performance.now();
  const views = await openLedgerViews({ ...followLedger(broker), folder, logger });
  await views.waitFor(events, { timeoutMs: CATCH_UP_MS });
  const rate = perSecond(events, performance.now() - startedAt);
  const aside = views.poison(1).length;
  await views.close();
  if (aside > 0) throw new Error('the views set events aside');
  return rate;
}
