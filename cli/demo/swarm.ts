import { hadColumns } from '../status-table.ts';
import { bytesText, timesText } from '../units.ts';
import { DEVICES, deviceName, SITES, sameSite, siteName } from './cast.ts';
import type { Narrator } from './narrator.ts';
import type { RegistryView } from './registry-view.ts';
import type { CopiesFigure, Swarm, SwarmFigure } from './report.ts';

/** Where all bytes came from so far: by what devices have confirmed, and what gateways report of themselves. */
export async function swarmFigures(view: Pick<RegistryView, 'installations' | 'sites'>): Promise<Swarm> {
  const devices: SwarmFigure[] = [];
  for (const device of DEVICES) {
    const installations = await view.installations(device);
    const sum = (source: 'gateway' | 'peer' | 'own' | 'patch'): number => installations.reduce((total, row) => total + row[source], 0);
    devices.push({ device: deviceName(device), gateway: sum('gateway'), peer: sum('peer'), own: sum('own'), patch: sum('patch') });
  }
  const reported = await view.sites();
  const sites = SITES.map((site): CopiesFigure => {
    const row = reported.find((one) => sameSite(one, site));
    return { ...site, sentBytes: row?.sent ?? null, uniqueBytes: row?.line?.unique ?? null, copies: row?.copies ?? null };
  });
  const total = (source: 'gateway' | 'peer'): number => devices.reduce((sum, device) => sum + device[source], 0);
  const lan = total('gateway') + total('peer');
  return { devices, sites, peerShare: lan === 0 ? 0 : total('peer') / lan };
}

export function showSwarm(narrator: Narrator, { devices, sites, peerShare }: Swarm): void {
  narrator.say('');
  narrator.say(narrator.colors.dim('Where each device had its bytes from, all installations so far, as it has signed'));
  narrator.table(devices, [{ title: 'DEVICE', value: (row) => row.device }, ...hadColumns<SwarmFigure>()]);
  narrator.say('');
  for (const site of sites) {
    if (site.copies === null) continue;
    narrator.good(
      `${siteName(site).padEnd(12)} its gateway sent ${bytesText(site.sentBytes ?? 0)} to devices for ${bytesText(site.uniqueBytes ?? 0)} that its line brought: ${timesText(site.copies)}`,
    );
  }
  narrator.good(`${Math.round(peerShare * 100)} % of all bytes on the LANs came from peers`);
}
