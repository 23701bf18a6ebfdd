import { FACTS, type StreamDeclaration } from './declaration.ts';
import { SUBJECTS } from './subjects.ts';

export const MISSIONS: StreamDeclaration = {
  ...FACTS,
  name: 'MISSIONS',
  description: 'Mission orchestrator events in envelope 3.0.0',
  subjects: [SUBJECTS.missions],
  allowAtomic: true,
};
