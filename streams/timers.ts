import { COMMON, MIB, type StreamDeclaration, UNLIMITED } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const TIMERS: StreamDeclaration = {
  ...COMMON,
  name: 'TIMERS',
  description: 'Deadlines, retries and patrol ticks: scheduled messages, and those that fired',
  subjects: [SUBJECTS.timers, SUBJECTS.timersFired],
  retention: 'limits',
  // Schedules do not work with `new`. So that `old` never drops a timer there is no limit of bytes
  // or age; fired timers go by their TTL.
  discard: 'old',
  maxBytes: UNLIMITED,
  maxMsgBytes: MIB / 16,
  // A timer that is set again replaces the one before, on disk too.
  maxMsgsPerSubject: 1,
  allowSchedules: true,
  allowMsgTtl: true,
  // The server needs roll-up and purge for schedules, and switches them on by itself.
  allowRollup: true,
  denyDelete: false,
  denyPurge: false,
};
