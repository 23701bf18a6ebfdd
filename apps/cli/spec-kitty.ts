import { runProcess } from './orchestrator/process.ts';
import { runSpecKitty } from './orchestrator/spec-kitty.ts';

await runProcess((context) => runSpecKitty(process.argv.slice(2), context));
