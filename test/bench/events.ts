import { readFileSync } from 'node:fs';
import { ABSENT, type AnyEvent } from '#libs/contracts';

/**
 * The events of all figures: the golden log of a run of three orders, told again under new ids,
 * RUNS_AT_ONCE runs side by side. 293 bytes an event on average.
 */
const GOLDEN = new URL('../golden/happy-three-steps.ndjson', import.meta.url);
const RUNS_AT_ONCE = 100;
/** Stands in the template for what tells one run from another. */
const HOLE = '@';

type Template = { text: string[]; subject: string[]; eventId: string[] };

const templates = goldenRun().map(toTemplate);

/** After so many events all runs that have begun are complete. */
export const BLOCK_EVENTS = RUNS_AT_ONCE * templates.length;

export type EventText = { text: string; subject: string; eventId: string };

/** The event number `index` of the history called `tag` (letters and digits), as it is stored. */
export function eventText(tag: string, index: number): EventText {
  const block = Math.floor(index / BLOCK_EVENTS);
  const at = index % BLOCK_EVENTS;
  const run = `_${tag}_${block * RUNS_AT_ONCE + (at % RUNS_AT_ONCE)}`;
  const { text, subject, eventId } = templates[Math.floor(at / RUNS_AT_ONCE)] as Template;
  return { text: text.join(run), subject: subject.join(run), eventId: eventId.join(run) };
}

/** The first block of the history as events; with new ids it is as good as any other. */
export function eventPool(tag: string): AnyEvent[] {
  return Array.from({ length: BLOCK_EVENTS }, (_, index) => JSON.parse(eventText(tag, index).text));
}

/** As many events, and then as many as it takes to complete the runs. */
export function wholeBlocks(events: number): number {
  return Math.ceil(events / BLOCK_EVENTS) * BLOCK_EVENTS;
}

/** The golden run; its last two events, which clean one order's worktree up, for each order. */
function goldenRun() {
  const events = readFileSync(GOLDEN, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const cleanUp = events.splice(-2);
  const orders = new Set(events.flatMap(({ order_id }) => order_id ?? []));
  for (const order_id of orders) {
    for (const event of cleanUp) {
      events.push({ ...event, event_id: `${event.event_id}${order_id}`, order_id });
    }
  }
  return events;
}

// The golden log is of any shape, as far as this program knows.
function toTemplate({ seq: _seq, ...event }: ReturnType<typeof goldenRun>[number]): Template {
  const { payload } = event;
  const mark = (id: string | null) => (id === null ? null : `${id}${HOLE}`);
  event.event_id = mark(event.event_id);
  event.run_id = mark(event.run_id);
  event.order_id = mark(event.order_id);
  event.unit_id = mark(event.unit_id);
  if (payload.order_ids) payload.order_ids = payload.order_ids.map(mark);
  if (payload.depends_on) payload.depends_on = payload.depends_on.map(mark);
  if (Array.isArray(payload.reply)) {
    for (const part of payload.reply) part.order_id = mark(part.order_id);
  }
  const ids = [event.garrison_id, event.theater_id, event.run_id, event.order_id];
  const subject = ['led.v1', ...ids.map((id) => id ?? ABSENT)].join('.');
  return {
    text: JSON.stringify(event).split(HOLE),
    subject: subject.split(HOLE),
    eventId: event.event_id.split(HOLE),
  };
}
