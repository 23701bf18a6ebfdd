import { expect, test } from 'vitest';
import { parseServerLine } from './server-log.ts';

const at = '[123] 2026/11/20 09:48:07.123456';

test.each([
  [`${at} [INF] Version:  2.15.1`, { level: 'debug', text: 'Version:  2.15.1', ready: false }],
  [`${at} [WRN] slow`, { level: 'warn', text: 'slow', ready: false }],
  [`${at} [FTL] no port`, { level: 'error', text: 'no port', ready: false }],
  [`${at} [INF] Server is ready`, { level: 'debug', text: 'Server is ready', ready: true }],
  [
    `${at} [INF] Listening for client connections on 127.0.0.1:4222`,
    {
      level: 'debug',
      text: 'Listening for client connections on 127.0.0.1:4222',
      port: 4222,
      ready: false,
    },
  ],
  [
    `${at} [INF]   Restored 1,000 messages for stream '$G > LEDGER' in 2ms`,
    {
      level: 'debug',
      text: "Restored 1,000 messages for stream '$G > LEDGER' in 2ms",
      ready: false,
    },
  ],
  ['panic: oh', { level: 'warn', text: 'panic: oh', ready: false }],
] as const)('%s', (text, line) => {
  expect(parseServerLine(text)).toEqual(line);
});
