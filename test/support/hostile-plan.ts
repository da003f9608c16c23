/** What test/support/hostile-peer.ts is told to do, and what it tells. */

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface Target {
  /** A manifest's hash, and the bytes of each of its chunks. */
  readonly manifest: string;
  readonly sizes: readonly number[];
}

export type HostilePlan =
  /** Comes to a door with these files (or none), in the swarm or by https, asks at once, and takes what is given. */
  | {
      readonly do: 'knock';
      readonly at: Place;
      readonly files: string | null;
      readonly protocol: 'swarm' | 'https';
      readonly path: string;
      readonly target: Target;
    }
  /** Joins as somebody who lacks everything, asks for every chunk and for any; for `milliseconds`. */
  | { readonly do: 'take'; readonly at: Place; readonly files: string; readonly target: Target; readonly milliseconds: number }
  /** Sends bytes that somebody else once sent (hex). */
  | { readonly do: 'replay'; readonly at: Place; readonly files: string; readonly frames: string; readonly milliseconds: number }
  /** Keeps connections to all these places, listens itself and advertises; claims to have everything, and answers asks in its own way. Until killed. */
  | {
      readonly do: 'claim';
      readonly at: readonly Place[];
      readonly files: string;
      readonly targets: readonly Target[];
      readonly listen: string;
      readonly answer: 'wrong' | 'absent' | 'nothing' | 'trickle';
    }
  | { readonly do: 'flood'; readonly at: Place; readonly files: string; readonly target: Target; readonly with: Flood };

export const FLOODS = ['joins', 'asks', 'unread', 'haves', 'oversized', 'garbage', 'unasked'] as const;
export type Flood = (typeof FLOODS)[number];

export interface Observation {
  /** connected, frame, refused, closed, http, done */
  readonly saw: string;
  readonly type?: string;
  readonly code?: string;
  readonly bytes?: number;
  readonly status?: number;
  readonly manifest?: string;
  readonly have?: number;
  readonly at?: string;
}
