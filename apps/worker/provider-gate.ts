import { AppError, isAppError, type StoredEvent } from '#libs/contracts';
import { createAggregateStore, decodeEvent, ledgerFilter, ledgerSubject } from '#libs/eventlog';
import { evolveService, serviceEdge, type ServiceState } from '#libs/orders';
import { command, type RoleContext } from '#libs/runtime';

/** Whether the model provider takes work; a refusal of quota closes it until its reset time. */
export type ProviderGate = {
  /** How long until it takes work again, in ms; 0: now. */
  waitMs: () => number;
  /** @throws {MODEL_QUOTA} it is closed: asking would only be refused again */
  assertOpen: () => void;
  /** It refused; answers when to come again. */
  refused: (error: AppError) => Date;
  /** It answered. */
  answered: () => void;
  /** Resolves when what there was to tell has been told. */
  close: () => Promise<void>;
};

/** How long to wait where the provider does not say. */
const WAIT_MS = 60_000;
/** No refusal closes it for less: it would only be asked again too early. */
const WAIT_MS_MIN = 500;

/** Shared by all units of this process; other processes are heard of by the service's events. */
export function createProviderGate(
  context: Pick<RoleContext, 'log' | 'logger' | 'broker'>,
  provider: string,
): ProviderGate {
  const { log, broker } = context;
  const service = `model:${provider}`;
  const subject = ledgerSubject({ garrison_id: log.garrisonId });
  const nowMs = () => log.defaults.now().getTime();
  const record = createRecord(context, service);
  let closedUntil = 0;

  const subscription = broker.nc.subscribe(subject, {
    callback: (error, message) => {
      const decoded = error === null ? decodeEvent(message.data, 1, subject) : undefined;
      if (decoded?.ok !== true || !isOf(decoded.event, service)) return;
      const { type, payload } = decoded.event;
      record.heard(type === 'SERVICE_RECOVERED');
      if (type === 'SERVICE_RECOVERED') closedUntil = 0;
      else if (payload.resets_at)
        closedUntil = Math.max(closedUntil, Date.parse(payload.resets_at));
    },
  });

  const waitMs = () => Math.max(0, closedUntil - nowMs());
  return {
    waitMs,
    assertOpen: () => {
      const retryAfterMs = waitMs();
      if (retryAfterMs === 0) return;
      throw new AppError(
        'MODEL_QUOTA',
        { reason: `${provider} was asked before` },
        {
          retryAfterMs,
          details: { provider, stage: 'calling_model', retryable: true, held: true },
        },
      );
    },
    refused: (error) => {
      const until = new Date(nowMs() + Math.max(error.retryAfterMs ?? WAIT_MS, WAIT_MS_MIN));
      closedUntil = Math.max(closedUntil, until.getTime());
      record.tell(false, error.message, until);
      return until;
    },
    answered: () => {
      closedUntil = 0;
      record.tell(true, 'it answers again');
    },
    close: async () => {
      if (!broker.nc.isClosed()) subscription.unsubscribe();
      await record.told();
    },
  };
}

/** Tells the edges of the service's health, one after the other, in the background. */
function createRecord(
  { log, logger, broker }: Pick<RoleContext, 'log' | 'logger' | 'broker'>,
  service: string,
) {
  const { garrisonId } = log;
  const absent = { theater_id: null, run_id: null, order_id: null };
  const filter = ledgerFilter({ garrison_id: garrisonId, ...absent });
  const store = createAggregateStore<ServiceState | undefined>(broker, undefined, (state, events) =>
    events.reduce((now, event) => (isOf(event, service) ? evolveService(now, event) : now), state),
  );
  /** What the ledger is known to say; undefined: not looked yet. */
  let known: boolean | undefined;
  let telling: Promise<void> = Promise.resolve();

  const write = async (healthy: boolean, reason: string, resetsAt?: Date): Promise<void> => {
    try {
      const reset = resetsAt && { resetsAt: resetsAt.toISOString() };
      await command(log, store, filter, ({ state }) =>
        serviceEdge(state, { service, garrisonId, healthy, reason, ...reset }),
      );
    } catch (error) {
      if (!isAppError(error)) throw error;
      // The next answer or refusal tells it.
      known = undefined;
      logger.warn({ err: error, service }, 'the state of the provider was not stored');
    }
  };
  return {
    heard: (healthy: boolean) => {
      known = healthy;
    },
    tell: (healthy: boolean, reason: string, resetsAt?: Date) => {
      if (known === healthy) return;
      known = healthy;
      telling = telling.then(() => write(healthy, reason, resetsAt));
    },
    told: () => telling,
  };
}

type ServiceEvent = StoredEvent & { type: 'SERVICE_DEGRADED' | 'SERVICE_RECOVERED' };

function isOf(event: StoredEvent, service: string): event is ServiceEvent {
  const { type } = event;
  return (
    (type === 'SERVICE_DEGRADED' || type === 'SERVICE_RECOVERED') &&
    event.payload.service === service
  );
}
