import type { JsMsg } from '@nats-io/jetstream';
import { type Broker, type Consuming, consumeDurable } from '#libs/broker';
import { AppError, isAppError, LIMITS, parseEvent } from '#libs/contracts';
import { type EventLog, setAside } from '#libs/eventlog';
import { deriveId } from '#libs/orders';
import { INTAKE, SUBJECTS } from '#streams';
import type { Logger } from 'pino';
import { type ReadEvent, recordMany, recordOne } from './record.ts';

const ACK_WAIT_MS = 30_000;
const CONCURRENCY = 64;

/**
 * Takes events that any NATS client published to `intake.v1.events`: one event, an array, or
 * `{"events": […]}`. Each message ends in the ledger or, with the reason, in DEAD.
 */
export function startIntake(broker: Broker, log: EventLog, logger: Logger): Consuming {
  return consumeDurable(broker, {
    stream: INTAKE.name,
    durable: 'ledger-events',
    filterSubjects: [SUBJECTS.intakeEvents],
    ackWaitMs: ACK_WAIT_MS,
    maxDeliver: -1,
    concurrency: CONCURRENCY,
    logger,
    handle: async (message) => {
      try {
        await take(log, message);
      } catch (error) {
        // What waiting can mend is tried again for ever: nothing that was queued may be lost.
        if (!isAppError(error) || error.retry !== 'never') throw error;
        await reject(broker, message, error);
        logger.info({ code: error.code, seq: message.seq }, 'queued event rejected');
      }
    },
  });
}

async function take(log: EventLog, message: JsMsg): Promise<void> {
  if (message.data.length > LIMITS.bodyBytes) {
    throw new AppError('PAYLOAD_TOO_LARGE', { what: 'message', limit: LIMITS.bodyBytes });
  }
  const value = parseJson(message.data);
  const read = readQueued(log, message);
  if (Array.isArray(value)) await recordMany(log, { events: value }, read);
  else if (isBatch(value)) await recordMany(log, value, read);
  else await recordOne(log, value, read);
}

/** A message may be handed over twice: an id that its sender left out follows from its place. */
function readQueued(log: EventLog, message: JsMsg): ReadEvent {
  let index = 0;
  const place = [String(message.seq), String(message.timestampNanos)];
  const newId = (): string => {
    index += 1;
    return deriveId('intake', ...place, String(index));
  };
  return (value, at) => ({ ...parseEvent(value, { ...log.defaults, newId }, at), idGiven: true });
}

function isBatch(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'events');
}

/** A byte order mark is refused, as over HTTP. */
/** A byte order mark is refused, as it is over HTTP. */
function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data));
  } catch (error) {
    throw new AppError('INVALID_JSON', { reason: (error as Error).message });
  }
}

async function reject(broker: Broker, message: JsMsg, error: AppError): Promise<void> {
  await setAside(broker, {
    channel: 'intake',
    code: error.code,
    reason: error.message,
    source: { stream: INTAKE.name, seq: message.seq, subject: message.subject },
    at: new Date().toISOString(),
    data: message.data,
  });
}
