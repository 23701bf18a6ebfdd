import { FACTS, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const LEDGER: StreamDeclaration = {
  ...FACTS,
  name: 'LEDGER',
  description: 'IronClaw events: every fact about runs, orders, theaters and units',
  subjects: [SUBJECTS.ledger],
  // The events of one decision are stored together or not at all.
  allowAtomic: true,
};
