// A server of the same framework that does nothing but one publish.
import { serve } from '@hono/node-server';
import { jetstream } from '@nats-io/jetstream';
import { Hono } from 'hono';
import { connect } from 'nats';
import { answerParent } from '../child.ts';

const nc = await connect({ servers: process.env.NATS_URL ?? '' });
const js = jetstream(nc);
const app = new Hono();
app.post('/events', async (c) => {
  const event = await c.req.json();
  const { garrison_id, theater_id, run_id, order_id, event_id } = event;
  const subject = `led.v1.${garrison_id}.${theater_id ?? '_'}.${run_id ?? '_'}.${order_id ?? '_'}`;
  const { seq, duplicate } = await js.publish(subject, JSON.stringify(event), { msgID: event_id });
  return c.json({ ok: true, data: { event_id, seq, duplicate }, error: null }, 201);
});
const url = Promise.withResolvers<string>();
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => {
  url.resolve(`http://127.0.0.1:${port}`);
});
answerParent({ url: () => url.promise, cpu: () => process.cpuUsage() });
