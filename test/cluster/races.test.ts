import { afterAll, beforeAll } from 'vitest';
import { raceTests } from './races.ts';
import { startProcesses } from './processes.ts';
import type { Target } from './target.ts';

let target: Target;
beforeAll(async () => {
  target = await startProcesses();
});
afterAll(() => target?.cluster[Symbol.asyncDispose]());

raceTests(() => target);
