import type { z } from 'zod';
import type { Broker } from '#libs/broker';
import type { API } from '#libs/contracts';
import { followStream, streamTail } from '#libs/eventlog';
import { decodeEntry } from '#libs/feeds';
import { FEEDS } from '#streams';
import { shownEntry } from './views/reads.ts';

type LiveFilter = z.output<(typeof API.intake.stream)['input']>;

/** Feed items as they are accepted; their id is the sequence, from which a reader can resume. */
export async function* liveItems(broker: Broker, filter: LiveFilter, signal: AbortSignal) {
  const { channel, from_seq, last_event_id } = filter;
  const resumed = last_event_id === undefined ? undefined : last_event_id + 1;
  const fromSeq = resumed ?? from_seq ?? (await streamTail(broker, FEEDS.name)) + 1;
  const subjects = [`feed.v1.${channel ?? '*'}.*`];
  const facts = { stream: FEEDS.name, decode: decodeEntry };
  const options = { fromSeq, subjects, signal, maxEvents: 256 };
  for await (const { events } of followStream(broker, facts, options)) {
    for (const { seq, event_id: _id, ...entry } of events) {
      const data = { channel: entry.channel, ...shownEntry(entry, seq) };
      yield { id: seq, event: entry.channel, data };
    }
  }
}
