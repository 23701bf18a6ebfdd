/** No limit, as JetStream writes it for counts and bytes. */
export const UNLIMITED = -1;

/** No age limit, as JetStream writes it. */
export const NO_AGE = 0;

/**
 * What a stream must be. Only fields that are set here are compared with the server's; an operator
 * may set others (placement, metadata) as they like.
 */
export type StreamDeclaration = {
  name: string;
  description: string;
  subjects: readonly string[];
  /** `limits` keeps messages until a limit is met, `workqueue` until they are acked. */
  retention: 'limits' | 'workqueue';
  /** What happens at a limit: the oldest message goes (`old`), or the new one is refused. */
  discard: 'old' | 'new';
  /** With `discard: 'new'`: `maxMsgsPerSubject` refuses too, instead of replacing. */
  discardNewPerSubject?: boolean;
  storage: 'file';
  compression: 's2' | 'none';
  /** Copies of each message; 1 on one server, 3 on a cluster. */
  replicas: number;
  maxMsgsPerSubject?: number;
  maxBytes: number;
  maxAgeMs: number;
  maxMsgBytes: number;
  /** How long the server itself remembers message ids. It holds them all in memory. */
  duplicateWindowMs: number;
  denyDelete: boolean;
  denyPurge: boolean;
  /** Any replica may answer reads; such reads can be stale. */
  allowDirect: boolean;
  allowAtomic?: boolean;
  allowMsgTtl?: boolean;
  allowSchedules?: boolean;
  allowRollup?: boolean;
};

const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

const MINUTE_MS = 60_000;

/** What nearly every stream has; each file states the rest and what is unusual about it. */
export const COMMON = {
  storage: 'file',
  compression: 's2',
  replicas: 1,
  maxAgeMs: NO_AGE,
  duplicateWindowMs: 2 * MINUTE_MS,
  allowDirect: true,
} as const satisfies Partial<StreamDeclaration>;

/** Facts are for ever: nothing ages, nothing is dropped, nobody deletes or purges. */
export const FACTS = {
  ...COMMON,
  retention: 'limits',
  discard: 'new',
  maxBytes: UNLIMITED,
  maxMsgBytes: MIB,
  denyDelete: true,
  denyPurge: true,
} as const satisfies Partial<StreamDeclaration>;

/** A queue refuses new work when it is full, so that the sender learns of it. */
export const QUEUE = {
  ...COMMON,
  retention: 'workqueue',
  discard: 'new',
  // A message that nobody could handle is copied to DEAD and then deleted here.
  denyDelete: false,
  denyPurge: false,
} as const satisfies Partial<StreamDeclaration>;
