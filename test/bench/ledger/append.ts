import { openEventLog } from '#libs/eventlog';
import { LIMITS, type AnyEvent } from '#libs/contracts';
import { eventPool } from '../events.ts';
import { openLab } from '../lab.ts';
import { pairRow, type Row } from '../report.ts';
import { inPairs, rateFor } from '../stats.ts';
import type { Plan } from './plan.ts';
import { publishRaw, publishRawBatch } from './raw.ts';

/** Publishes under way at once, on both sides. */
const WIDTH = 256;

/** `js.publish` with a message id, many under way at once, against `append`. */
export async function benchAppend(plan: Plan): Promise<Row> {
  await using lab = openLab(plan.sync);
  const server = await lab.broker();
  const { nc, js } = await server.connect();
  const own = await server.connect();
  const log = openEventLog({ broker: own, garrisonId: 'local' });
  const fresh = freshEvents();
  const prefix = subjects();

  const raw = (ms = plan.roundMs) =>
    rateFor(ms, WIDTH, () => {
      const event = fresh();
      return publishRaw(js, prefix(event), event);
    });
  const ours = (ms = plan.roundMs) => rateFor(ms, WIDTH, () => log.append(fresh()));
  const pairs = await inPairs(plan.pairs, raw, ours, async () => {
    await raw(plan.warmUpMs);
    await ours(plan.warmUpMs);
  });
  log.close();
  await nc.flush();
  return pairRow(
    { id: 'append', what: `append, ${WIDTH} at once`, unit: 'events/s', goal: 0.8 },
    pairs,
  );
}

/** An atomic batch of as many events as there may be, one batch after the other. */
export async function benchBatch(plan: Plan): Promise<Row> {
  await using lab = openLab(plan.sync);
  const server = await lab.broker();
  const { nc } = await server.connect();
  const own = await server.connect();
  const log = openEventLog({ broker: own, garrisonId: 'local' });
  const size = LIMITS.batchEvents;
  const fresh = freshEvents();
  const prefix = subjects();

  const raw = async (ms = plan.roundMs) =>
    size *
    (await rateFor(ms, 1, () =>
      publishRawBatch(nc, log.defaults.newId(), size, () => {
        const event = fresh();
        const { event_id: eventId } = event;
        return { subject: prefix(event), text: JSON.stringify(event), eventId };
      }),
    ));
  const ours = async (ms = plan.roundMs) =>
    size *
    (await rateFor(ms, 1, () =>
      log.appendBatch(Array.from({ length: size }, () => ({ event: fresh() }))),
    ));
  const pairs = await inPairs(plan.pairs, raw, ours, async () => {
    await raw(plan.warmUpMs);
    await ours(plan.warmUpMs);
  });
  log.close();
  return pairRow(
    { id: 'batch', what: `atomic batch of ${size}`, unit: 'events/s', goal: 0.8 },
    pairs,
  );
}

/** Events of the same few thousand, each under an id of its own. */
function freshEvents(): () => AnyEvent {
  const pool = eventPool('pool');
  let count = 0;
  return () => {
    const event = pool[count % pool.length] as AnyEvent;
    count += 1;
    return { ...event, event_id: `${event.event_id}_${count}` };
  };
}

/** The subject as a program without our checks would make it. */
function subjects() {
  return (event: AnyEvent): string => {
    const { garrison_id, theater_id, run_id, order_id } = event;
    return `led.v1.${garrison_id}.${theater_id ?? '_'}.${run_id ?? '_'}.${order_id ?? '_'}`;
  };
}
