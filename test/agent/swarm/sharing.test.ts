import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { onBattery } from '../../../agent/swarm/power.ts';
import { Sharing } from '../../../agent/swarm/sharing.ts';
import { POWER_CHECK_INTERVAL } from '../../../shared/base/limits.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** A folder as /sys/class/power_supply. */
async function supplies(all: Record<string, Record<string, string>>): Promise<string> {
  const folder = await temporaryDirectory();
  for (const [name, files] of Object.entries(all)) {
    await mkdir(join(folder, name));
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, name, file), `${text}\n`);
  }
  return folder;
}

const battery = { type: 'Battery', status: 'Discharging' };

describe('a device', () => {
  it('is on battery when it has mains supplies and none is connected', async () => {
    expect(await onBattery(await supplies({ BAT0: battery, AC: { type: 'Mains', online: '0' } }))).toBe(true);
    expect(await onBattery(await supplies({ BAT0: battery, AC: { type: 'Mains', online: '1' } }))).toBe(false);
    expect(await onBattery(await supplies({ AC: { type: 'Mains', online: '0' }, usb: { type: 'USB', online: '1' } }))).toBe(false);
  });

  it('that does not say counts as on mains', async () => {
    expect(await onBattery(await supplies({}))).toBe(false);
    expect(await onBattery(await supplies({ BAT0: battery }))).toBe(false);
    expect(await onBattery(await supplies({ odd: {} }))).toBe(false);
    expect(await onBattery('/nowhere/at/all')).toBe(false);
  });
});

describe('sharing', () => {
  it('follows the battery when automatic, and looks at most every POWER_CHECK_INTERVAL', async () => {
    const clock = new ManualClock();
    let onIt = true;
    let looks = 0;
    const sharing = new Sharing({
      share: 'auto',
      metered: false,
      clock,
      battery: async () => {
        looks += 1;
        return onIt;
      },
    });
    await settle();
    expect(sharing.allowed()).toBe(false);
    onIt = false;
    expect([sharing.allowed(), looks]).toEqual([false, 1]);
    await clock.advance(POWER_CHECK_INTERVAL);
    sharing.allowed();
    await settle();
    expect([sharing.allowed(), looks]).toEqual([true, 2]);
  });

  it('is off on a metered link when automatic; otherwise as configured', async () => {
    const clock = new ManualClock();
    const allowed = async (share: 'auto' | 'always' | 'never', metered: boolean, onIt: boolean): Promise<boolean> => {
      const sharing = new Sharing({ share, metered, clock, battery: async () => onIt });
      await settle();
      return sharing.allowed();
    };
    expect(await allowed('auto', false, false)).toBe(true);
    expect(await allowed('auto', true, false)).toBe(false);
    expect(await allowed('always', true, true)).toBe(true);
    expect(await allowed('never', false, false)).toBe(false);
  });

  it('stays as it was when the power supply cannot be read', async () => {
    const sharing = new Sharing({ share: 'auto', metered: false, clock: new ManualClock(), battery: () => Promise.reject(new Error('EIO')) });
    await settle();
    expect(sharing.allowed()).toBe(true);
  });
});
