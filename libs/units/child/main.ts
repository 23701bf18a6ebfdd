// The process of one order. Started by libs/units/host.ts; see there for what it may do.
import './guard.ts';
import { Denied } from './policy.ts';
import { runUnit } from './unit.ts';
import { createWire } from './wire.ts';

const wire = createWire(() => process.exit(0));
try {
  const begin = wire.receive();
  if (begin.kind !== 'begin') throw new Error('the first message must be the task');
  runUnit(begin.task, wire);
} catch (error) {
  const { message } = error as Error;
  wire.send({ kind: 'failed', denied: error instanceof Denied, message });
}
