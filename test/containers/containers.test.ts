import { afterAll, beforeAll, describe, test } from 'vitest';
import { failureTests } from '../cluster/failures.ts';
import { raceTests } from '../cluster/races.ts';
import type { Target } from '../cluster/target.ts';
import { startContainers, whyNoContainers } from './brokers.ts';

const reason = await whyNoContainers();

test.runIf(reason !== undefined)('three brokers in containers', ({ skip }) => skip(reason));

describe.skipIf(reason !== undefined)('three brokers in containers', () => {
  let target: Target;
  beforeAll(async () => {
    target = await startContainers();
  }, 120_000);
  afterAll(() => target?.cluster[Symbol.asyncDispose](), 60_000);

  raceTests(() => target);
  failureTests(() => target);
});
