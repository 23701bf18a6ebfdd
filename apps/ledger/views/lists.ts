import type { z } from 'zod';
import type { API } from '#libs/contracts';
import {
  isTerminal,
  ORDER_STATUSES,
  type OrderState,
  type OrderStatus,
  type RunState,
} from '#libs/orders';
import type { Reader, SqlValue } from '#libs/projections';
import { anomalySeq } from './anomalies.ts';
import { formatCursor, parseCursor } from './cursor.ts';
import type { TheaterState } from './theater.ts';

type Input<E extends { input: z.ZodType }> = Omit<z.output<E['input']>, 'at_least'>;
export type RunFilter = Input<typeof API.ledger.runs>;
export type OrderFilter = Input<typeof API.ledger.orders>;
export type TheaterFilter = Input<typeof API.ledger.theaters>;
export type AnomalyFilter = Input<typeof API.ledger.anomalies>;

export type OrderCounts = Record<OrderStatus, number>;
/** A run with the number of its orders by status. */
export type RunRow = RunState & { order_counts: OrderCounts };
export type TheaterRow = TheaterState & { runs: number; orders: number };
export type AnomalyRow = {
  seq: number;
  event_id: string;
  type: string;
  run_id: string | null;
  order_id: string | null;
  kind: string;
  detail: string;
};
export type AsOf = { next_cursor: string | null; as_of: number };

/** Runs, newest (by their first event) first. @throws {INVALID_REQUEST} a cursor that is none */
export function listRuns(reader: Reader, filter: RunFilter): { runs: RunRow[] } & AsOf {
  const { theater_id, status } = filter;
  // An index leads to the few that are under way; the others are best found by theater.
  const byStatus = status === 'OPEN' || theater_id === undefined;
  const { rows, ...rest } = list<StateRow>(reader, 'runs', 'seq', filter, [
    [byStatus && status ? '+theater_id = ?' : 'theater_id = ?', theater_id],
    [byStatus ? 'status = ?' : '+status = ?', status],
  ]);
  return { runs: rows.map((row) => runRow(reader, row)), ...rest };
}

/** Orders, newest (by their first event) first. @throws {INVALID_REQUEST} a cursor that is none */
export function listOrders(reader: Reader, filter: OrderFilter): { orders: OrderState[] } & AsOf {
  const { run_id, theater_id, status } = filter;
  const byRun = run_id !== undefined;
  const byStatus = !byRun && status !== undefined && (!isTerminal(status) || !theater_id);
  const { rows, ...rest } = list<StateRow>(reader, 'orders', 'seq', filter, [
    ['run_id = ?', run_id],
    [byRun || byStatus ? '+theater_id = ?' : 'theater_id = ?', theater_id],
    [byStatus ? 'status = ?' : '+status = ?', status],
  ]);
  return { orders: rows.map((row) => JSON.parse(row.state) as OrderState), ...rest };
}

/** How many runs and orders stand at each status, of one theater or of all. */
export function countAll(
  reader: Reader,
  theaterId: string | undefined,
): { runs: Record<string, number>; orders: Record<string, number> } {
  const count = (table: 'runs' | 'orders'): Record<string, number> => {
    const where = theaterId === undefined ? '' : 'WHERE theater_id = ?';
    const rows = reader.all<{ status: string; n: number }>(
      `SELECT status, count(*) AS n FROM ${table} ${where} GROUP BY status`,
      ...(theaterId === undefined ? [] : [theaterId]),
    );
    return Object.fromEntries(rows.map(({ status, n }) => [status, n]));
  };
  return { runs: count('runs'), orders: count('orders') };
}

/** Theaters that events name, newest first. @throws {INVALID_REQUEST} a cursor that is none */
export function listTheaters(
  reader: Reader,
  filter: TheaterFilter,
): { theaters: TheaterState[] } & AsOf {
  const { rows, ...rest } = list<StateRow>(reader, 'theaters', 'seq', filter, []);
  return { theaters: rows.map((row) => JSON.parse(row.state) as TheaterState), ...rest };
}

/** Anomalies, newest first. @throws {INVALID_REQUEST} a cursor that is none */
export function listAnomalies(
  reader: Reader,
  filter: AnomalyFilter,
): { anomalies: AnomalyRow[] } & AsOf {
  const { rows, ...rest } = list<Omit<AnomalyRow, 'seq'> & { id: number }>(
    reader,
    'anomalies',
    'id',
    filter,
    [
      ['run_id = ?', filter.run_id],
      ['order_id = ?', filter.order_id],
    ],
  );
  return { anomalies: rows.map(({ id, ...row }) => ({ seq: anomalySeq(id), ...row })), ...rest };
}

/** One run; undefined if no event names it. */
export function findRun(reader: Reader, runId: string): RunRow | undefined {
  const row = reader.get<StateRow>('SELECT seq, state FROM runs WHERE id = ?', runId);
  return row && runRow(reader, row);
}

/** One order; undefined if no event names it. */
export function findOrder(reader: Reader, orderId: string): OrderState | undefined {
  const row = reader.get<StateRow>('SELECT seq, state FROM orders WHERE id = ?', orderId);
  return row && (JSON.parse(row.state) as OrderState);
}

/** One theater and how many runs and orders it has; undefined if no event names it. */
export function findTheater(reader: Reader, theaterId: string): TheaterRow | undefined {
  const row = reader.get<StateRow>('SELECT seq, state FROM theaters WHERE id = ?', theaterId);
  if (row === undefined) return undefined;
  const count = (table: 'runs' | 'orders'): number =>
    reader.get<{ n: number }>(`SELECT count(*) AS n FROM ${table} WHERE theater_id = ?`, theaterId)
      ?.n ?? 0;
  const state = JSON.parse(row.state) as TheaterState;
  return { ...state, runs: count('runs'), orders: count('orders') };
}

type StateRow = { seq: number; state: string };

function runRow(reader: Reader, { state }: StateRow): RunRow {
  const run = JSON.parse(state) as RunState;
  const order_counts = Object.fromEntries(ORDER_STATUSES.map((status) => [status, 0]));
  const found = reader.all<{ status: OrderStatus; n: number }>(
    'SELECT status, count(*) AS n FROM orders WHERE run_id = ? GROUP BY status',
    run.run_id,
  );
  for (const { status, n } of found) order_counts[status] = n;
  return { ...run, order_counts: order_counts as OrderCounts };
}

/** A page of rows by falling key; conditions without a value do not count. */
export function list<R extends object>(
  reader: Reader,
  table: string,
  key: 'seq' | 'id',
  { limit, cursor: text }: { limit: number; cursor?: string | undefined },
  conditions: [sql: string, value: SqlValue | undefined][],
): { rows: R[] } & AsOf {
  const cursor = parseCursor(text);
  const given = conditions.filter(([, value]) => value !== undefined);
  const where = [`${key} < ?`, ...given.map(([sql]) => sql)].join(' AND ');
  const rows = reader.all<R>(
    `SELECT * FROM ${table} WHERE ${where} ORDER BY ${key} DESC LIMIT ?`,
    cursor?.key ?? Number.MAX_SAFE_INTEGER,
    ...given.map(([, value]) => value as SqlValue),
    limit + 1,
  );
  const page = rows.slice(0, limit);
  const last = (page.at(-1) as Record<string, number> | undefined)?.[key];
  const more = rows.length > limit && last !== undefined;
  return {
    rows: page,
    next_cursor: more ? formatCursor({ side: 'next', key: last }) : null,
    as_of: reader.seq,
  };
}
