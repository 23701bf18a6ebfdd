import { MIB, QUEUE, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const JOBS: StreamDeclaration = {
  ...QUEUE,
  name: 'JOBS',
  description: 'Pointers to orders to execute; the truth about them is in LEDGER',
  subjects: [SUBJECTS.jobs],
  maxBytes: 128 * MIB,
  maxMsgBytes: MIB / 16,
  // Jobs are few, so ids are kept longer: a dispatcher that is slow to restart sends none twice.
  duplicateWindowMs: 10 * 60_000,
};
