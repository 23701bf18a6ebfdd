import { FACTS, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const PROJECTS: StreamDeclaration = {
  ...FACTS,
  name: 'PROJECTS',
  description: 'Governed project events',
  subjects: [SUBJECTS.projects],
  allowAtomic: true,
};
