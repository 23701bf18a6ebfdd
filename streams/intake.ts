import { MIB, QUEUE, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const INTAKE: StreamDeclaration = {
  ...QUEUE,
  name: 'INTAKE',
  description: 'Events and signed deliveries from any client, not yet verified',
  subjects: [SUBJECTS.intakeEvents, SUBJECTS.signedQueue],
  maxBytes: 256 * MIB,
  maxMsgBytes: MIB,
};
