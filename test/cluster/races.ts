import { setTimeout as sleep } from 'node:timers/promises';
import { isAppError } from '#libs/contracts';
import { toNanos } from '#libs/broker';
import { LEDGER } from '#streams';
import { describe, expect, test } from 'vitest';
import { fact, openLog, readAll, readReplicas, type Target } from './target.ts';

const logsOf = (target: Target, count: number) =>
  Promise.all(Array.from({ length: count }, () => openLog(target)));

/** The races and repetitions of libs/eventlog, with three copies of each message. */
export function raceTests(targetOf: () => Target): void {
  describe('races on three replicas', () => {
    test('50 clients, one id: stored once, all ok', async () => {
      const logs = await logsOf(targetOf(), 50);
      const event = fact('one-id', 'one-id-1');
      const results = await Promise.all(logs.map((log) => log.append(event)));
      expect(results.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
      expect(new Set(results.map(({ seq }) => seq)).size).toBe(1);
      for (const replica of await readReplicas(targetOf(), '*.*.*.*.*.one-id')) {
        expect(replica.map(({ event_id }) => event_id)).toEqual(['one-id-1']);
      }
    });

    test('50 clients, one id, 5 contents: those of the first are ok, the others are told', async () => {
      const logs = await logsOf(targetOf(), 50);
      const outcomes = await Promise.all(
        logs.map((log, i) =>
          log.append(fact('contents', 'contents-1', `content ${i % 5}`)).catch(codeOf),
        ),
      );
      const winner = outcomes.findIndex((outcome) => isFresh(outcome)) % 5;
      expect(outcomes.map((outcome) => (typeof outcome === 'string' ? outcome : 'ok'))).toEqual(
        outcomes.map((_, i) => (i % 5 === winner ? 'ok' : 'EVENT_ID_CONFLICT')),
      );
      expect(await readAll(logs[0]!.broker, '*.*.*.*.*.contents')).toHaveLength(1);
    });

    test.each(['create', 'version'])('20 writers, one expectation (%s): one wins', async (kind) => {
      const logs = await logsOf(targetOf(), 20);
      for (let round = 0; round < 5; round += 1) {
        const order = `${kind}-${round}`;
        const first = kind === 'create' ? 0 : (await logs[0]!.append(fact(order, order))).seq;
        const outcomes = await Promise.all(
          logs.map((log, i) =>
            log.append(fact(order, `${order}-${i}`, `by ${i}`), { expect: first }).catch(codeOf),
          ),
        );
        const winners = outcomes.flatMap((outcome, i) => (isFresh(outcome) ? [i] : []));
        expect(winners).toHaveLength(1);
        const losers = outcomes.filter((outcome) => outcome === 'VERSION_CONFLICT');
        expect(losers).toHaveLength(19);
        const stored = await readAll(logs[0]!.broker, `*.*.*.*.*.${order}`);
        expect(stored.at(-1)?.event_id).toBe(`${order}-${winners[0]}`);
        expect(stored).toHaveLength(kind === 'create' ? 1 : 2);
      }
    });

    test.each(['any', 0] as const)(
      'a batch raced by 10 clients is stored once (%s)',
      async (is) => {
        const logs = await logsOf(targetOf(), 10);
        const order = `batch-${is}`;
        const batch = Array.from({ length: 50 }, (_, i) => ({
          event: fact(order, `${order}-${i}`),
          ...(i === 0 && { expect: is }),
        }));
        const results = await Promise.all(logs.map((log) => log.appendBatch(batch)));
        expect(results.filter((result) => !result[0]!.duplicate)).toHaveLength(1);
        for (const replica of await readReplicas(targetOf(), `*.*.*.*.*.${order}`)) {
          const seqs = replica.map(({ seq }) => seq);
          expect(seqs).toEqual(results[0]!.map(({ seq }) => seq));
          expect(replica.map(({ event_id }) => event_id)).toEqual(
            batch.map(({ event }) => event.event_id),
          );
        }
      },
    );

    test('batches of several aggregates and single writers: no half, no wrong answer', async () => {
      const logs = await logsOf(targetOf(), 6);
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, b) =>
          logs[b % 6]!.appendBatch(
            Array.from({ length: 20 }, (_, i) => ({
              event: fact(`mixed-${i % 4}`, `mixed-${b}-${i}`),
            })),
          ),
        ).concat(
          Array.from({ length: 100 }, async (_, i) => [
            await logs[i % 6]!.append(fact('mixed-0', `mixed-single-${i}`)),
          ]),
        ),
      );
      const answered = answers.flat().map(({ seq, event_id }) => `${seq} ${event_id}`);
      const stored = (await readAll(logs[0]!.broker, 'led.v1.>'))
        .filter(({ order_id }) => order_id?.startsWith('mixed-'))
        .map(({ seq, event_id }) => `${seq} ${event_id}`);
      expect(stored).toHaveLength(900);
      expect(answered.toSorted()).toEqual(stored.toSorted());
    });

    test('a repeated event is known within the window of ids, and beyond it by its version', async () => {
      const [log] = await logsOf(targetOf(), 1);
      const { jsm } = await targetOf().cluster.connect(targetOf().admin);
      const own = fact('window', 'window-1');
      const { seq } = await log!.append(own, { expect: 0 });
      expect(await log!.append(own)).toMatchObject({ seq, duplicate: true });
      expect(await log!.append(own, { expect: 0 })).toMatchObject({ seq, duplicate: true });
      await jsm.streams.update(LEDGER.name, { duplicate_window: toNanos(100) });
      try {
        await log!.append(fact('window', 'window-2'), { expect: seq });
        await sleep(300);
        expect(await log!.append(own, { expect: 0 })).toMatchObject({ seq, duplicate: true });
        const other = fact('window', 'window-1', 'another');
        expect(await log!.append(other, { expect: 0 }).catch(codeOf)).toBe('EVENT_ID_CONFLICT');
      } finally {
        await jsm.streams.update(LEDGER.name, {
          duplicate_window: toNanos(LEDGER.duplicateWindowMs),
        });
      }
      const stored = await readAll(log!.broker, '*.*.*.*.*.window');
      expect(stored.map(({ event_id }) => event_id)).toEqual(['window-1', 'window-2']);
    });
  });
}

function isFresh(outcome: unknown): boolean {
  return typeof outcome === 'object' && (outcome as { duplicate: boolean }).duplicate === false;
}

function codeOf(error: unknown): string {
  if (isAppError(error)) return error.code;
  throw error;
}
