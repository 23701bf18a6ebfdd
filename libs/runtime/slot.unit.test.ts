import { mkdtempSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { claimSlot } from './slot.ts';

test('each claim has a folder of its own, and finds it again when it was given free', () => {
  const base = mkdtempSync(join(tmpdir(), 'ironclaw-slot-'));
  try {
    const first = claimSlot(base);
    const second = claimSlot(base);
    expect([first.folder, second.folder]).toEqual([join(base, '0'), join(base, '1')]);
    writeFileSync(join(first.folder, 'kept'), '');
    first.release();
    first.release();
    const again = claimSlot(base);
    expect(again.folder).toBe(first.folder);
    expect(existsSync(join(again.folder, 'kept'))).toBe(true);
    again.release();
    second.release();
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
});

test('there is a bound', () => {
  const base = mkdtempSync(join(tmpdir(), 'ironclaw-slot-'));
  const slots = Array.from({ length: 64 }, () => claimSlot(base));
  try {
    expect(() => claimSlot(base)).toThrow(/in use/);
  } finally {
    for (const slot of slots) slot.release();
    rmSync(base, { recursive: true, force: true });
  }
});
