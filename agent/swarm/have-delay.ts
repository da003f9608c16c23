import { SWARM_HAVE_DELAY, SWARM_HAVE_SPACING, WANTED_PEERS } from '../../shared/base/limits.ts';

/**
 * Milliseconds that news of chunks which others have too may wait. Where everybody is connected with everybody, whoever got a chunk from the gateway told
 * all of it at once, and second-hand news hardly matter: the more peers are to be told, the longer they wait, or what is said would grow with the square of
 * the group. With WANTED_PEERS there may be more devices than we are connected with, and chunks reach them through second hands alone.
 */
export function haveDelay(peers: number): number {
  return peers >= WANTED_PEERS ? SWARM_HAVE_DELAY : Math.max(SWARM_HAVE_DELAY, peers * SWARM_HAVE_SPACING);
}
