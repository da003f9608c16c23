import { describe, expect, it } from 'vitest';
import { Strikes } from '../../../agent/swarm/strikes.ts';
import { BAN_TIME, MAX_BANS, MAX_STRIKES } from '../../../shared/base/limits.ts';

function ban(strikes: Strikes, who: string, now: number): void {
  for (let count = 0; count < MAX_STRIKES; count++) strikes.strike(who, now);
}

describe('strikes', () => {
  it('ban a peer with the second wrong chunk, not with the first', () => {
    const strikes = new Strikes();
    expect(strikes.strike('a', 0)).toBe(false);
    expect(strikes.banned('a', 0)).toBe(false);
    expect(strikes.strike('a', 1)).toBe(true);
    expect(strikes.banned('a', 1)).toBe(true);
    expect(strikes.banned('b', 1)).toBe(false);
  });

  it('are forgiven after the ban', () => {
    const strikes = new Strikes();
    ban(strikes, 'a', 5);
    expect(strikes.banned('a', 5 + BAN_TIME - 1)).toBe(true);
    expect(strikes.banned('a', 5 + BAN_TIME)).toBe(false);
    expect(strikes.strike('a', 5 + BAN_TIME)).toBe(false);
  });

  it('remember a bounded number of peers, the newest', () => {
    const strikes = new Strikes();
    for (let index = 0; index <= MAX_BANS; index++) ban(strikes, `device-${index}`, index);
    expect(strikes.banned('device-0', MAX_BANS)).toBe(false);
    expect(strikes.banned('device-1', MAX_BANS)).toBe(true);
    expect(strikes.banned(`device-${MAX_BANS}`, MAX_BANS)).toBe(true);
  });
});
