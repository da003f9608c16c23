import { seededRandom } from '../support/random.ts';

/** What goes wrong in one round: a function of the seed. */
export interface Round {
  readonly seed: number;
  /** Applications that get a new version, with the bytes of it. */
  readonly releases: readonly { readonly application: 'viewer' | 'driver'; readonly size: number }[];
  readonly faults: readonly Fault[];
  /** Statements that a middleman says again, out of order and more than once. */
  readonly replays: number;
}

/** `at`, `lasts`: milliseconds from the beginning of the round, and from the beginning of the fault. */
export interface Fault {
  readonly kind: FaultKind;
  readonly on: Victim;
  readonly at: number;
  readonly lasts: number;
}

export type FaultKind = 'kill' | 'freeze' | 'cut' | 'slow' | 'noise' | 'full' | 'clock' | 'rot' | 'rot-trust';
export type Victim = 'provider' | 'gateway' | 'ct-1' | 'ct-2' | 'pump-1';

const DEVICES = ['ct-1', 'ct-2', 'pump-1'] as const;
const ALL = ['provider', 'gateway', ...DEVICES] as const;
/** Who can have it; killing is what happens most. */
const VICTIMS: Readonly<Record<FaultKind, readonly Victim[]>> = {
  kill: ALL,
  freeze: ALL,
  // The line, or a device's cable.
  cut: ['gateway', 'gateway', ...DEVICES],
  slow: ['gateway'],
  // Packets on the way to it are lost, said twice, out of order and damaged.
  noise: ['gateway', 'gateway', ...DEVICES],
  full: ['ct-2', 'gateway', 'provider'],
  // Whose clock jumps: the provider's is the one that time is asked of.
  clock: ['gateway', ...DEVICES],
  rot: ['gateway'],
  'rot-trust': DEVICES,
};
const KINDS: readonly FaultKind[] = [
  ...(['kill', 'kill', 'kill', 'kill', 'freeze', 'freeze', 'cut', 'cut', 'cut'] as const),
  ...(['slow', 'noise', 'noise', 'full', 'full', 'clock', 'clock', 'rot', 'rot-trust'] as const),
];
const WINDOW = 4000;
const MAX_FAULTS = 6;

export function planRound(seed: number): Round {
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pick = <T>(list: readonly T[], otherwise: T): T => list[below(list.length)] ?? otherwise;
  const which = below(3);
  const releases = (['viewer', 'driver'] as const)
    .filter((_application, index) => which === 2 || which === index)
    .map((application) => ({ application, size: 500_000 + below(2_000_000) }));
  const faults = Array.from({ length: 2 + below(MAX_FAULTS - 1) }, (): Fault => {
    const kind = pick(KINDS, 'kill');
    return { kind, on: pick(VICTIMS[kind], 'gateway'), at: below(WINDOW), lasts: 50 + below(1500) };
  });
  return { seed, releases, faults: faults.toSorted((a, b) => a.at - b.at), replays: below(20) };
}

/** The faults of one victim follow each other: nobody is killed twice at once. */
export function byVictim(faults: readonly Fault[]): ReadonlyMap<Victim, readonly Fault[]> {
  return Map.groupBy(faults, ({ on }) => on);
}

/** One line for people, and for whoever repeats the round. */
export function describeRound({ seed, releases, faults, replays }: Round): string {
  const told = faults.map(({ kind, on, at, lasts }) => `${kind} ${on} ${at}+${lasts}`);
  return `seed ${seed}: ${releases.map(({ application, size }) => `${application} of ${size}`).join(', ')}; ${told.join(', ')}; ${replays} replayed`;
}
