import { COMMON, MIB, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const DEAD: StreamDeclaration = {
  ...COMMON,
  name: 'DEAD',
  description: 'Rejected deliveries, exhausted jobs and poison events, with the reason',
  subjects: [SUBJECTS.dead],
  // A work queue could not be looked at; these are listed, redriven and deleted by hand.
  retention: 'limits',
  // For looking into, not a record: when it is full the oldest go.
  discard: 'old',
  maxBytes: 256 * MIB,
  // The dead message and the reason: room for the largest message that another stream takes.
  maxMsgBytes: 2 * MIB,
  denyDelete: false,
  denyPurge: false,
};
