import { MAX_PEERS, WANTED_PEERS } from '../../shared/base/limits.ts';
import { seededRandom } from '../../test/support/random.ts';
import { BadDevice, type Badness } from './bad-device.ts';
import { End, type Party } from './connection.ts';
import { Device } from './device.ts';
import { Gateway } from './gateway.ts';
import { MBIT, Port } from './network.ts';
import { VirtualTime } from './virtual-time.ts';

const KiB = 1024;

export const SCENARIOS = ['uniform', 'heterogeneous', 'churn', 'bad'] as const;
export type Scenario = (typeof SCENARIOS)[number];

export interface Race {
  readonly scenario: Scenario;
  readonly devices: number;
  readonly chunks: number;
  readonly seed: number;
  /** Mbit/s of the gateway's port, and of every device's unless the scenario says otherwise. */
  readonly mbit?: number;
  /** Bytes that a port sends of one connection before it is the next one's turn. */
  readonly piece?: number;
}

export interface Outcome {
  /** To the last device. */
  readonly seconds: number;
  /** The shortest time possible. */
  readonly limit: number;
  /** Bytes that left the gateway / bytes of the content. */
  readonly copies: number;
  /** Honest devices that have everything, and all of them. */
  readonly complete: number;
  readonly honest: number;
  /** Chunks stored that are not what they claim to be. */
  readonly wrong: number;
  /** Times that a device gave up for the time being. */
  readonly starved: number;
}

/** Milliseconds one way, and those that a dial with its handshake takes. */
const LATENCY = 0.5;
const DIALLING = 20;
/** Milliseconds within which all devices begin. */
const STAGGER = 20;
const HOUR = 3_600_000;

/** As content-defined chunks are: 16 to 256 KiB, 64 on average. */
export function chunkSizes(count: number, random: () => number): number[] {
  return Array.from({ length: count }, () => Math.round(Math.min(256, 16 - 50 * Math.log(1 - random())) * KiB));
}

/** Runs one distribution from the gateway to all devices in virtual time: the same seed, the same outcome. */
export function simulate({ scenario, devices: count, chunks, seed, mbit = 25, piece = 16 * KiB }: Race): Outcome {
  const random = seededRandom(seed);
  const time = new VirtualTime();
  const sizes = chunkSizes(chunks, random);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const portOf = (up: number, down: number): Port => new Port(time, { up: up * MBIT, down: down * MBIT, piece });
  const serving = scenario === 'heterogeneous' ? 100 : mbit;
  const gateway = new Gateway(time, portOf(serving, serving), sizes, random);

  const speeds = Array.from({ length: count }, (_, index) => speedsOf(scenario, (index + 0.5) / count, mbit));
  const badnessOf = (index: number): Badness | undefined =>
    scenario === 'bad' && index % 10 >= 7 ? (['corrupt', 'silent', 'trickle'] as const)[index % 3] : undefined;
  let complete = 0;
  const present = new Set<Device | BadDevice>();

  const connect = (a: Device | BadDevice, b: Device | BadDevice): void => {
    const [one, other] = End.connect(time, a, b, LATENCY);
    a.opened(one, 'peer');
    b.opened(other, 'peer');
  };
  const suits = (a: Device | BadDevice, b: Device | BadDevice): boolean =>
    a !== b &&
    b.peers < MAX_PEERS &&
    !(a instanceof Device && (a.shuns(b) || a.isConnectedTo(b))) &&
    !(b instanceof Device && (b.shuns(a) || b.isConnectedTo(a)));
  /** As connections.ts does: addresses in no order, until there are enough peers. */
  const look = (device: Device | BadDevice): void => {
    const others = [...present];
    for (let tries = 0; tries < 4 * WANTED_PEERS && device.peers < WANTED_PEERS && others.length > 0; tries++) {
      const at = Math.floor(random() * others.length);
      const [other] = others.splice(at, 1);
      if (other !== undefined && suits(device, other)) connect(device, other);
    }
  };
  const dialGateway = (device: Device | BadDevice): void => {
    const [one, other] = End.connect(time, device, gateway, LATENCY);
    device.opened(one, 'gateway');
    void other;
  };
  const arrive = (device: Device | BadDevice): void => {
    present.add(device);
    look(device);
    if (device instanceof Device) device.start();
    dialGateway(device);
  };

  const honest: Device[] = [];
  const bad: BadDevice[] = [];
  for (let index = 0; index < count; index++) {
    const name = `device-${index}`;
    const badness = badnessOf(index);
    const [up, down] = speeds[index] ?? [mbit, mbit];
    if (badness !== undefined) {
      bad.push(new BadDevice(name, badness, badness === 'trickle' ? portOf(0.064, down) : portOf(up, down), sizes));
      continue;
    }
    const onLost = (device: Device, to: Party | undefined): void => {
      time.after(DIALLING, () => {
        if (!device.up) return;
        if (to === gateway) dialGateway(device);
        else if (device.peers < WANTED_PEERS) look(device);
      });
    };
    honest.push(
      new Device({
        name,
        time,
        port: portOf(up, down),
        sizes,
        random,
        turn: count >= 1000 ? 10 : 0.5,
        onComplete: () => {
          complete += 1;
        },
        onLost,
      }),
    );
  }
  const all = [...honest, ...bad];
  const limit = limitOf(
    bytes,
    serving * MBIT,
    honest.map((_, index) => speeds[index] ?? [mbit, mbit]),
  );
  if (scenario === 'churn') {
    // A fifth comes late, another fifth goes away in the middle and comes back.
    honest.forEach((device, index) => {
      if (index % 5 === 1) time.at(limit * (0.2 + 0.6 * random()), () => arrive(device));
      else time.at(STAGGER * random(), () => arrive(device));
      if (index % 5 !== 3) return;
      const gone = limit * (0.2 + 0.6 * random());
      time.at(gone, () => {
        present.delete(device);
        device.stop();
      });
      time.at(gone + limit * 0.3 * random(), () => arrive(device));
    });
  } else {
    // Peers keep their connections: those of before the release stand.
    for (const device of all) present.add(device);
    for (const device of shuffled(all, random)) look(device);
    for (const device of all)
      time.at(STAGGER * random(), () => {
        if (device instanceof Device) device.start();
        dialGateway(device);
      });
  }
  time.run(() => complete === honest.length, HOUR);
  return {
    seconds: time.now / 1000,
    limit: limit / 1000,
    copies: gateway.port.sent / bytes,
    complete,
    honest: honest.length,
    wrong: honest.reduce((sum, device) => sum + device.wrong, 0),
    starved: honest.reduce((sum, device) => sum + device.starved, 0),
  };
}

/** Mbit/s up and down. @param share in (0, 1): which device of all */
function speedsOf(scenario: Scenario, share: number, mbit: number): readonly [number, number] {
  if (scenario !== 'heterogeneous') return [mbit, mbit];
  // Spread over the row, so that small groups have some of each.
  const place = (share * 7.3) % 1;
  return place < 0.7 ? [100, 100] : place < 0.9 ? [25, 25] : [10, 1000];
}

/**
 * Milliseconds: the gateway sends everything once, the slowest device takes everything in, and all together send what all together take in (Kumar and
 * Ross, "Peer-Assisted File Distribution: The Minimum Distribution Time", 2006, theorem 1).
 */
function limitOf(bytes: number, serving: number, speeds: readonly (readonly [number, number])[]): number {
  const slowest = Math.min(...speeds.map(([, down]) => down)) * MBIT;
  const together = speeds.reduce((sum, [up]) => sum + up * MBIT, serving);
  return Math.max(bytes / serving, bytes / slowest, (speeds.length * bytes) / together);
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
