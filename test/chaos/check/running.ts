import type { Evidence, Served, Violation } from './evidence.ts';
import type { History } from './history.ts';

/** What is served is what was, and is, made from the events; built anew it is the same. */
export function checkViews({ views }: Evidence, { runs, orders }: History): Violation[] {
  const found: Violation[] = [];
  const tell = (message: string): void => void found.push({ invariant: 'views', message });
  const compare = (
    what: string,
    served: readonly Served[],
    folded: ReadonlyMap<string, { status: string; version: number }>,
  ): void => {
    if (served.length !== folded.size) {
      tell(`${served.length} ${what} are served, the ledger has ${folded.size}`);
    }
    for (const { id, status, version } of served) {
      const truth = folded.get(id);
      if (truth?.status === status && truth.version === version) continue;
      tell(
        `${what} ${id} is served as ${status} at ${version}, is ${truth?.status} at ${truth?.version}`,
      );
    }
  };
  compare('runs', views.runs, runs);
  compare('orders', views.orders, orders);
  tellDifferences('runs', views.runs, views.rebuiltRuns, tell);
  tellDifferences('orders', views.orders, views.rebuiltOrders, tell);
  const tables = new Set([...Object.keys(views.servedTables), ...Object.keys(views.freshTables)]);
  for (const table of tables) {
    if (views.servedTables[table] !== views.freshTables[table]) {
      tell(`table ${table} differs from one that is built from nothing`);
    }
  }
  if (tables.size === 0) tell('no table was looked at');
  if (views.poison > 0) tell(`${views.poison} events could not be applied`);
  return found;
}

function tellDifferences(
  what: string,
  before: readonly Served[],
  after: readonly Served[],
  tell: (message: string) => void,
): void {
  const known = new Map(before.map(({ id, text }) => [id, text]));
  if (before.length !== after.length)
    tell(`${before.length} ${what}, ${after.length} when rebuilt`);
  for (const { id, text } of after) {
    if (known.get(id) !== text) tell(`${what} ${id} differs when rebuilt`);
  }
}

/** Nothing ended by itself that should run, and nothing runs on that should have ended. */
export function checkProcesses({ processes }: Evidence): Violation[] {
  const tell = (message: string): Violation => ({ invariant: 'processes', message });
  return [
    ...processes.left.map((line) => tell(`still there: ${line}`)),
    ...processes.killed.map((name) => tell(`${name} did not end when it was asked to`)),
    ...processes.falls
      // Before it is ready it may find no broker, and say so.
      .filter(({ ready, reason }) => ready || reason === '')
      .map(({ member, how, reason, atMs }) =>
        tell(`${member} ended by itself at ${atMs} ms: ${how} ${reason}`),
      ),
  ];
}
