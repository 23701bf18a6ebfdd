import { FACTS, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const FEEDS: StreamDeclaration = {
  ...FACTS,
  name: 'FEEDS',
  description: 'Accepted milestones and demand snapshots, one for each idempotency key',
  subjects: [SUBJECTS.feeds],
  // The key is in the subject, and a subject takes one message: the server itself refuses a
  // repeated key, long after the window of message ids.
  maxMsgsPerSubject: 1,
  discardNewPerSubject: true,
};
