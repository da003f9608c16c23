import { DEVICES, type DemoDevice, FIRST } from './cast.ts';
import type { Narrator } from './narrator.ts';
import type { RegistryView } from './registry-view.ts';

/** The provider's database, one line per device: what runs on it, and where an arrow stands, what shall run. */
export async function showDatabase(narrator: Narrator, view: RegistryView, title: string): Promise<void> {
  const rows = await view.rows();
  const cell = (device: DemoDevice, application: string): string => {
    const row = rows.find((one) => one.customer === device.customer && one.device === device.device && one.application === application);
    if (row === undefined) return '';
    if (row.currentVersion === row.customerVersion) return row.customerVersion ?? '';
    return `${row.customerVersion ?? 'nothing'} → ${row.currentVersion ?? 'nothing'}`;
  };
  const paint = (text: string): string => (text.includes('→') ? narrator.colors.yellow(text) : narrator.colors.green(text));
  narrator.say('');
  narrator.say(narrator.colors.dim(`${title} (on the device → current version, where they differ)`));
  narrator.table(DEVICES, [
    { title: 'CUSTOMER', value: (device) => device.customer },
    { title: 'SITE', value: (device) => device.site },
    { title: 'GROUP', value: (device) => device.group },
    { title: 'DEVICE', value: (device) => device.device },
    ...FIRST.map(({ application }) => ({ title: application.toUpperCase(), value: (device: DemoDevice) => cell(device, application), paint })),
  ]);
}
