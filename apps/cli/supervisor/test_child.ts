import { beatForever, tellReady } from './messages.ts';

/** A process under a supervisor: it works, or with `spin` its event loop stops for ever. */
void beatForever(100);
tellReady(process.argv[3] ?? null);
if (process.argv[2] === 'spin') {
  setImmediate(() => {
    for (;;);
  });
} else {
  process.once('disconnect', () => process.exit());
  setInterval(() => undefined, 60_000);
}
