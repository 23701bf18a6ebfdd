import { COMMON, MIB, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const LEASES: StreamDeclaration = {
  ...COMMON,
  name: 'LEASES',
  description: 'Who does a thing that only one process may do at a time; a lease ends by its TTL',
  subjects: [SUBJECTS.leases],
  retention: 'limits',
  maxMsgsPerSubject: 1,
  discard: 'new',
  maxBytes: 16 * MIB,
  maxMsgBytes: MIB / 16,
  // The server's clock ends a lease, so those of the holders need not agree.
  allowMsgTtl: true,
  denyDelete: false,
  denyPurge: false,
};
