import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ReadPace } from '../../../../shared/net/swarm/read-pace.ts';
import { Turn } from '../../../../shared/net/swarm/turn.ts';

describe('a turn of the event loop', () => {
  it('decides once, after everything was read, then writes once, and only then naps', async () => {
    const said: string[] = [];
    const pace = new ReadPace();
    pace.nap = (bytes) => void said.push(`nap after ${bytes}`);
    const swarm = new Turn(pace);
    const write = (): void => void said.push('write');
    const decide = (): void => {
      said.push('decide');
      swarm.write(write);
    };
    swarm.came(1000);
    swarm.write(write);
    swarm.decide(decide);
    swarm.came(500);
    swarm.decide(decide);
    expect(said).toEqual([]);
    await turn();
    expect(said).toEqual(['decide', 'write', 'nap after 1500']);
  });

  it('does at once, before it naps, what a decision leaves to be decided', async () => {
    const said: string[] = [];
    const swarm = new Turn(new ReadPace());
    const second = (): void => void said.push('second');
    swarm.decide(() => {
      said.push('first');
      swarm.decide(second);
    });
    await turn();
    await turn();
    expect(said).toEqual(['first', 'second']);
  });

  it('ends without a nap when no chunks came', async () => {
    const pace = new ReadPace();
    let naps = 0;
    pace.nap = () => {
      naps += 1;
    };
    const swarm = new Turn(pace);
    swarm.write(() => undefined);
    await turn();
    expect(naps).toBe(0);
  });
});
