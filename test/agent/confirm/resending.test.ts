import { describe, expect, it } from 'vitest';
import { Resending } from '../../../agent/confirm/resending.ts';
import { STATEMENT_RETRY_MAX, STATEMENT_RETRY_MIN } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function rig() {
  const clock = new ManualClock();
  const stop = new AbortController();
  const said: number[] = [];
  const resend = async (): Promise<void> => void said.push(clock.monotonic());
  const resending = new Resending({ resend, clock, random: () => 0.999, log: silentLog, signal: stop.signal });
  return { clock, stop, said, resending };
}

describe('statements that the gateway could not take in', () => {
  it('are said again after a while, and ever more rarely while it goes on, with one wait at a time', async () => {
    const { clock, said, resending } = rig();
    for (let time = 0; time < 20; time++) {
      for (let statement = 0; statement < 5; statement++) resending.refused('STORAGE_FAILED');
      expect(clock.sleeping).toBe(1);
      // Not before its time: the first after a second or so, the tenth after minutes.
      await clock.advance(Math.min(STATEMENT_RETRY_MAX, STATEMENT_RETRY_MIN * 2 ** time) * 0.9);
      expect(said).toHaveLength(time);
      await clock.advance(Math.min(STATEMENT_RETRY_MAX, STATEMENT_RETRY_MIN * 2 ** time) * 0.1);
      await resending.idle();
      expect(said).toHaveLength(time + 1);
    }
  });

  it('begin anew when all was well for long', async () => {
    const { clock, said, resending } = rig();
    for (const wait of [STATEMENT_RETRY_MIN, 2 * STATEMENT_RETRY_MIN]) {
      resending.refused('BUSY');
      await clock.advance(wait);
      await resending.idle();
    }
    await clock.advance(3 * STATEMENT_RETRY_MAX);
    resending.refused('BUSY');
    await clock.advance(STATEMENT_RETRY_MIN);
    await resending.idle();
    expect(said).toHaveLength(3);
  });

  it('are not said again for reasons that do not pass, nor when the agent stops', async () => {
    const { clock, stop, said, resending } = rig();
    resending.refused('STATEMENT_FORGED');
    expect(clock.sleeping).toBe(0);
    resending.refused('STORAGE_FAILED');
    stop.abort(new Error('stopping'));
    await resending.idle();
    expect(said).toEqual([]);
  });
});
