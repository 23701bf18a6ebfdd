import { COMMON, GIB, type StreamDeclaration, UNLIMITED } from './declaration.ts';
import { OBJECT_BUCKET } from './subjects.ts';

/** The stream behind the object store bucket; name and subjects are those of the object store. */
export const OBJECTS: StreamDeclaration = {
  ...COMMON,
  name: `OBJ_${OBJECT_BUCKET}`,
  description: 'Content by digest: input files, packs and artifacts too large for an event',
  subjects: [`$O.${OBJECT_BUCKET}.C.>`, `$O.${OBJECT_BUCKET}.M.>`],
  retention: 'limits',
  discard: 'new',
  maxBytes: 2 * GIB,
  maxMsgBytes: UNLIMITED,
  // The object store replaces an entry by a roll-up, and purges the chunks of a failed write.
  allowRollup: true,
  denyDelete: false,
  denyPurge: false,
};
