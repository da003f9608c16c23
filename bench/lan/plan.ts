import { aria2 } from './aria2.ts';
import { iperf3 } from './iperf3.ts';
import { mosquitto } from './mosquitto.ts';
import { nginx } from './nginx.ts';
import type { Contestant, Shape } from './race.ts';
import { udpcast } from './udpcast.ts';
import { wardcast } from './wardcast.ts';

export const CONTESTANTS = {
  wardcast: wardcast(),
  'wardcast without staging': wardcast({ how: 'fetch' }),
  'wardcast, one device killed': wardcast({ kill: true }),
  'wardcast, encrypted': wardcast({ encrypted: true }),
  aria2,
  udpcast,
  'nginx and curl': nginx,
  'mosquitto, TLS, 256 KiB': mosquitto,
  'iperf3, one copy': iperf3,
} as const satisfies Readonly<Record<string, Contestant>>;
export type Name = keyof typeof CONTESTANTS;

/** Contestants that meet in one shape, in turns. */
export interface Heat {
  readonly shape: Shape;
  readonly names: readonly Name[];
  /** These run once: how long they take is N times one copy by rule, and it is long. */
  readonly once?: readonly Name[];
}

const swarms = ['wardcast', 'aria2', 'udpcast'] as const;
const slow = ['nginx and curl', 'mosquitto, TLS, 256 KiB', 'iperf3, one copy'] as const;

/** At 100 Mbit/s and 8 devices two cores are what is measured; at 25 Mbit/s the links are. */
export const WHOLE: readonly Heat[] = [
  { shape: { devices: 2, mbit: 100, mib: 100 }, names: swarms, once: slow },
  { shape: { devices: 4, mbit: 100, mib: 100 }, names: swarms, once: slow },
  { shape: { devices: 8, mbit: 25, mib: 25 }, names: [...swarms, 'wardcast, one device killed', 'wardcast, encrypted'], once: slow },
  { shape: { devices: 16, mbit: 25, mib: 25 }, names: swarms },
  { shape: { devices: 8, mbit: null, mib: 100 }, names: ['wardcast', 'wardcast, encrypted', 'aria2', 'nginx and curl'], once: ['mosquitto, TLS, 256 KiB'] },
  { shape: { devices: 1, mbit: null, mib: 1000 }, names: ['wardcast', 'wardcast without staging', 'nginx and curl'] },
];

export const QUICK: readonly Heat[] = [
  { shape: { devices: 4, mbit: 100, mib: 25 }, names: ['wardcast'] },
  { shape: { devices: 8, mbit: 100, mib: 12 }, names: [...swarms, 'wardcast, one device killed'] },
  { shape: { devices: 1, mbit: null, mib: 256 }, names: ['wardcast', 'nginx and curl'] },
];
