import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * True when the device runs on its battery: it has a mains supply and none is connected (Linux, Documentation/ABI/testing/sysfs-class-power).
 * A device that does not say counts as on mains.
 */
export async function onBattery(directory = '/sys/class/power_supply'): Promise<boolean> {
  const names = await readdir(directory).catch(() => []);
  const read = (name: string, what: string): Promise<string> =>
    readFile(join(directory, name, what), 'utf8').then(
      (text) => text.trim(),
      () => '',
    );
  let mains = 0;
  for (const name of names) {
    if (!['Mains', 'USB'].includes(await read(name, 'type'))) continue;
    if ((await read(name, 'online')) === '1') return false;
    mains += 1;
  }
  return mains > 0;
}
