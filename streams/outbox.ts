import { COMMON, MIB, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const OUTBOX: StreamDeclaration = {
  ...COMMON,
  name: 'OUTBOX',
  description: 'Milestones and demand summaries on their way, one delivery for each target and key',
  subjects: [SUBJECTS.outbox],
  // Not a work queue: what came of each delivery is the ledger of its target, and is listed.
  retention: 'limits',
  // A delivery is one record that each step replaces, on disk too.
  maxMsgsPerSubject: 1,
  // Nothing that waits is dropped: a full outbox refuses new events, and its user is told. What has
  // been delivered goes by its TTL.
  discard: 'new',
  maxBytes: 256 * MIB,
  maxMsgBytes: MIB,
  allowMsgTtl: true,
  // People discard what is not to be sent any more.
  denyDelete: false,
  denyPurge: false,
};
