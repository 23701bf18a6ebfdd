import { processIo } from './io.ts';
import { run } from './program.ts';

const code = await run(process.argv.slice(2), processIo());
// Idle connections would keep the process for seconds; what was written has to be out first.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
