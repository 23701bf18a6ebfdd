import { ADVISORIES } from './advisories.ts';
import { DEAD } from './dead.ts';
import type { StreamDeclaration } from './declaration.ts';
import { FEEDS } from './feeds.ts';
import { INTAKE } from './intake.ts';
import { JOBS } from './jobs.ts';
import { LEASES } from './leases.ts';
import { LEDGER } from './ledger.ts';
import { MISSIONS } from './missions.ts';
import { OBJECTS } from './objects.ts';
import { OUTBOX } from './outbox.ts';
import { PROJECTS } from './projects.ts';
import { TIMERS } from './timers.ts';

export { NO_AGE, type StreamDeclaration, UNLIMITED } from './declaration.ts';
export { advisorySubjects, OBJECT_BUCKET, SUBJECTS } from './subjects.ts';
export { streamsTable } from './table.ts';
export {
  ADVISORIES,
  DEAD,
  FEEDS,
  INTAKE,
  JOBS,
  LEASES,
  LEDGER,
  MISSIONS,
  OBJECTS,
  OUTBOX,
  PROJECTS,
  TIMERS,
};

/** Every stream there is, for one server. */
export const STREAMS: readonly StreamDeclaration[] = [
  LEDGER,
  JOBS,
  TIMERS,
  INTAKE,
  FEEDS,
  OUTBOX,
  LEASES,
  MISSIONS,
  PROJECTS,
  DEAD,
  ADVISORIES,
  OBJECTS,
];

/** Every stream, with `replicas` copies (1 to 5, odd) of each message. */
export function streamsWithReplicas(replicas: number): StreamDeclaration[] {
  return STREAMS.map((stream) => ({ ...stream, replicas }));
}
