import {
  INTEGRATION_TRANSITIONS,
  ORDER_TRANSITIONS,
  RECOVERY_TRANSITIONS,
  RUN_TRANSITIONS,
  SERVICE_TRANSITIONS,
  type Transition,
  type TransitionTable,
  WORKTREE_TRANSITIONS,
} from './tables.ts';

const MACHINES: readonly [string, TransitionTable<string>][] = [
  ['Run', RUN_TRANSITIONS],
  ['Order', ORDER_TRANSITIONS],
  ['Worktree', WORKTREE_TRANSITIONS],
  ['Integration', INTEGRATION_TRANSITIONS],
  ['Recovery', RECOVERY_TRANSITIONS],
  ['Service', SERVICE_TRANSITIONS],
];

/** The transition tables of all state machines as markdown, one section each. */
export function transitionsMarkdown(): string {
  return MACHINES.map(([name, table]) => {
    const lines = rows(table).map(([type, { from, to, note = '' }]) => {
      const sources = from.map((one) => (one === 'NONE' ? 'none' : one));
      return `| ${type} | ${sources.join(', ')} | ${to} | ${note} |`;
    });
    const head = ['| Event | Legal from | To | Condition |', '|---|---|---|---|'];
    return [`### ${name}`, '', ...head, ...lines].join('\n');
  }).join('\n\n');
}

/** One machine as a mermaid state diagram; skips from nothing are left to the table. */
export function transitionsMermaid(machine: 'Run' | 'Order' | 'Worktree' | 'Integration'): string {
  const table = MACHINES.find(([name]) => name === machine)?.[1] ?? {};
  const lines = rows(table).flatMap(([type, { from, to }]) => {
    const sources = from.filter((one) => one !== 'NONE');
    const all = sources.length === 0 ? ['[*]'] : sources;
    return all.map((one) => `  ${one} --> ${to}: ${type}`);
  });
  return ['stateDiagram-v2', ...lines].join('\n');
}

function rows(table: TransitionTable<string>): [string, Transition<string>][] {
  return Object.entries(table);
}
