import type { Role } from '#libs/contracts';
import { serve } from './host.ts';

// Roles in a process of their own, to be killed. It prints READY and its URL, and goes when
// its parent does.
const env = Object.fromEntries(
  Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
);
process.stdin.on('end', () => process.exit(0)).resume();
const host = await serve(process.argv.slice(2) as Role[], env);
process.stdout.write(`READY ${host.http?.url}\n`);
