import { AckPolicy, DeliverPolicy } from '@nats-io/jetstream';
import { pino } from 'pino';
import { type Broker, toNanos } from '#libs/broker';
import { LEDGER_STREAM } from '#libs/eventlog';
import { followLedger } from '../../../apps/ledger/views/follow.ts';
import { openLedgerViews } from '../../../apps/ledger/views/views.ts';
import { openLab } from '../lab.ts';
import { pairRow, type Row } from '../report.ts';
import { inPairs, perSecond } from '../stats.ts';
import { fillLedger } from './fill.ts';
import type { Plan } from './plan.ts';

const CATCH_UP_MS = 120_000;
/** Messages that the raw consumer may have under way: as many as our cursor. */
const WINDOW = 4_000;

/** Reading the whole ledger with JSON.parse, against building all views of the ledger role. */
export async function benchProjector(plan: Plan): Promise<Row> {
  await using lab = openLab(plan.sync);
  const server = await lab.broker();
  const reader = await server.connect();
  const own = await server.connect();
  const events = await fillLedger(reader, plan.projectorEvents);
  const raw = () => consumeRaw(reader, events);
  const ours = async () => buildViews(own, events, await lab.folder());
  const pairs = await inPairs(plan.projectorPairs, raw, ours, async () => {
    await raw();
    await ours();
  });
  return pairRow(
    {
      id: 'projector',
      what: 'projector, all views from empty',
      unit: 'events/s',
      goal: 0.4,
      note: `${events} events; raw is a consumer without acks that parses each message`,
    },
    pairs,
  );
}

async function consumeRaw({ js, jsm }: Broker, events: number): Promise<number> {
  const { name } = await jsm.consumers.add(LEDGER_STREAM, {
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.All,
    inactive_threshold: toNanos(60_000),
    mem_storage: true,
  });
  const consumer = await js.consumers.get(LEDGER_STREAM, name);
  const done = Promise.withResolvers<void>();
  let count = 0;
  let types = 0;
  const startedAt = performance.now();
  const messages = await consumer.consume({
    max_messages: WINDOW,
    callback: (message) => {
      // Something is done with it, or it need not be parsed.
      if (typeof (JSON.parse(message.string()) as { type: string }).type === 'string') types += 1;
      count += 1;
      if (count === events) done.resolve();
    },
  });
  await done.promise;
  const rate = perSecond(types, performance.now() - startedAt);
  messages.stop();
  await jsm.consumers.delete(LEDGER_STREAM, name);
  return rate;
}

async function buildViews(broker: Broker, events: number, folder: string): Promise<number> {
  const logger = pino({ level: 'silent' });
  const startedAt = performance.now();
  const views = await openLedgerViews({ ...followLedger(broker), folder, logger });
  await views.waitFor(events, { timeoutMs: CATCH_UP_MS });
  const rate = perSecond(events, performance.now() - startedAt);
  const set = views.poison(1).length;
  await views.close();
  if (set > 0) throw new Error('the views set events aside');
  return rate;
}
