// A server of the same framework that verifies one HMAC and does one publish, and nothing else.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { serve } from '@hono/node-server';
import { jetstream } from '@nats-io/jetstream';
import { Hono } from 'hono';
import { connect } from 'nats';
import { answerParent } from '../child.ts';

const nc = await connect({ servers: process.env.NATS_URL ?? '' });
const js = jetstream(nc);
const secret = process.env.MILESTONE_SIGNING_SECRET ?? '';
const app = new Hono();
app.post('/internal/milestones/ingest', async (c) => {
  const text = await c.req.text();
  const mac = createHmac('sha256', secret).update(text).digest();
  const given = Buffer.from(c.req.header('x-openclaw-signature') ?? '', 'hex');
  if (given.length !== mac.length || !timingSafeEqual(given, mac)) return c.json({}, 401);
  const { idempotencyKey, event } = JSON.parse(text);
  const key = createHash('sha256').update(idempotencyKey).digest('hex');
  await js.publish(`feed.v1.milestones.${key}`, text);
  return c.json({ ok: true, status: 'accepted', milestoneId: event.milestoneId });
});
const url = Promise.withResolvers<string>();
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => {
  url.resolve(`http://127.0.0.1:${port}`);
});
answerParent({ url: () => url.promise });
