import { describe, expect, it } from 'vitest';
import { haveDelay } from '../../../agent/swarm/have-delay.ts';
import { SWARM_HAVE_DELAY, WANTED_PEERS } from '../../../shared/base/limits.ts';

describe('news of chunks that others have too', () => {
  it('wait the longer, the more peers of a whole group are to be told: at most 30 frames a second', () => {
    for (let peers = 1; peers < WANTED_PEERS; peers++) {
      expect(haveDelay(peers)).toBeGreaterThanOrEqual(haveDelay(peers - 1));
      expect((peers * 1000) / haveDelay(peers)).toBeLessThanOrEqual(30);
    }
  });

  it('travel quickly where there are more devices than peers: many hear of them in no other way', () => {
    for (const peers of [WANTED_PEERS, WANTED_PEERS + 10]) expect(haveDelay(peers)).toBe(SWARM_HAVE_DELAY);
  });
});
