import path from 'node:path';
import { FILE } from '../content.ts';
import type { Contestant } from './race.ts';

const SETTLE = 500;
/** Of the link's rate: what its packets' headers leave. */
const SHARE = 0.97;

/** Multicast without any security: the gateway sends every byte once. */
export const udpcast: Contestant = async (race) => {
  const { content, devices, shape } = race;
  const copies = devices.map((host) => path.join(race.folder(host), FILE));
  const always = ['--nokbd', '--interface', 'eth0', '--file'];
  const receivers = devices.map((host, index) => race.start(host, ['udp-receiver', ...always, copies[index] ?? ''], `${race.folder(host)}.log`));
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  await race.go();
  const rate = shape.mbit === null ? [] : ['--max-bitrate', `${Math.floor(shape.mbit * SHARE)}m`];
  const file = path.join(content.folder, FILE);
  race.start(0, ['udp-sender', ...always, file, '--min-receivers', String(devices.length), '--full-duplex', ...rate], `${race.folder(0)}.log`);
  await Promise.all(receivers.map((receiver) => receiver.succeeded()));
  return { copies };
};
