import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ENDPOINTS } from '#libs/contracts';
import { expect, test } from 'vitest';
import { startSystem } from '../conformance/harness.ts';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find((file) =>
  existsSync(file),
);

/** The page as a browser has it after its scripts have run. */
async function dom(url: string): Promise<string> {
  const profile = await mkdtemp(path.join(tmpdir(), 'ironclaw-chromium-'));
  try {
    const { stdout } = await promisify(execFile)(
      CHROMIUM as string,
      [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-background-networking',
        '--disable-component-update',
        '--no-first-run',
        `--user-data-dir=${profile}`,
        '--virtual-time-budget=10000',
        '--dump-dom',
        url,
      ],
      { maxBuffer: 32 * 1024 * 1024, timeout: 60_000 },
    );
    return stdout;
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

test.skipIf(CHROMIUM === undefined)(
  'the page at /docs shows every operation of the document to a real browser',
  async () => {
    await using system = await startSystem({ roles: ['gateway', 'ledger'] });
    const text = await dom(`${system.url('gateway')}/docs`);
    expect(text).toContain('POST');
    for (const { summary } of ENDPOINTS) {
      expect(text).toContain(summary.replaceAll('&', '&amp;').replaceAll('<', '&lt;'));
    }
    expect(text).not.toContain('is not defined');
  },
  120_000,
);
