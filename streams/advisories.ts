import { COMMON, MIB, type StreamDeclaration } from './declaration.ts';
import { INTAKE } from './intake.ts';
import { JOBS } from './jobs.ts';
import { advisorySubjects } from './subjects.ts';
import { TIMERS } from './timers.ts';

const DAY_MS = 86_400_000;

export const ADVISORIES: StreamDeclaration = {
  ...COMMON,
  name: 'ADVISORIES',
  // The server sends an advisory once. Without a stream nobody would learn of a message that was
  // given up while its watcher was away, and in a work queue it would stay for ever.
  description: 'Notices of the server that a message was given up, for what moves it to DEAD',
  subjects: [JOBS, INTAKE, TIMERS].flatMap((stream) => advisorySubjects(stream.name)),
  retention: 'limits',
  discard: 'old',
  maxBytes: 64 * MIB,
  maxMsgBytes: MIB / 16,
  maxAgeMs: 30 * DAY_MS,
  denyDelete: false,
  denyPurge: false,
};
