import { describe, expect, it } from 'vitest';
import { type Address, type Connection, isOwnGateway, locate, type Sighting } from '../../agent/locate.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { CANDIDATE_TIMEOUT, RECONNECT_MAX } from '../../shared/base/limits.ts';
import type { Link, LinkState } from '../../shared/net/broker.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { RecordingLog } from '../support/recording-log.ts';

/** A LAN whose hosts answer as the test says. */
class Lan {
  readonly clock = new ManualClock();
  readonly log = new RecordingLog();
  readonly tried: string[] = [];
  readonly good = new Set<string>();
  readonly #links = new Map<string, (state: LinkState, reason?: Error) => void>();
  #tell: ((sighting: Sighting) => void) | undefined;
  readonly served: string[] = [];
  readonly stop = new AbortController();

  run(fixed?: Address): Promise<void> {
    return locate(
      { fixed, browse: (signal) => this.#browse(signal), open: (address) => this.#open(address), clock: this.clock, log: this.log, random: () => 0.5 },
      this.stop.signal,
    );
  }

  see(instance: string, type: 'up' | 'down' = 'up', port = 1): void {
    this.#tell?.({ type, instance, address: instance, port });
  }

  lose(host: string): void {
    this.good.delete(host);
    this.#links.get(host)?.('down', new WardcastError('CONNECTION_LOST', 'gone'));
  }

  async *#browse(signal: AbortSignal): AsyncIterable<Sighting> {
    const queue: Sighting[] = [];
    let wake = (): void => undefined;
    this.#tell = (sighting) => {
      queue.push(sighting);
      wake();
    };
    signal.addEventListener('abort', () => wake());
    while (!signal.aborted) {
      const next = queue.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  #open({ host }: Address): Connection {
    this.tried.push(host);
    const listeners = new Set<(state: LinkState, reason?: Error) => void>();
    const emit = (state: LinkState, reason?: Error): void => {
      for (const listener of listeners) listener(state, reason);
    };
    this.#links.set(host, emit);
    queueMicrotask(() => {
      if (host === 'silent') return;
      if (this.good.has(host)) emit('up');
      else emit('down', new WardcastError('SERVER_NAME_WRONG', 'not whom we want'));
    });
    const link: Link = {
      state: 'connecting',
      publish: async () => undefined,
      subscribe: async function* () {},
      onState: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      traffic: () => ({ received: 0, sent: 0 }),
      close: async () => undefined,
    };
    return {
      link,
      serve: async (lost) => {
        this.served.push(host);
        await new Promise<void>((resolve) => lost.addEventListener('abort', () => resolve()));
      },
    };
  }
}

describe('locate', () => {
  it('serves the gateway that proves itself, and no impostor that advertises first', async () => {
    const lan = new Lan();
    lan.good.add('real');
    const running = lan.run();
    await lan.clock.advance(1);
    lan.see('impostor');
    await lan.clock.advance(1);
    lan.see('real');
    await lan.clock.advance(RECONNECT_MAX);
    expect(lan.served).toEqual(['real']);
    expect(lan.tried).toContain('impostor');
    lan.stop.abort();
    await running;
  });

  it('goes to another gateway when its own is replaced, and back to the same one when it restarts', async () => {
    const lan = new Lan();
    lan.good.add('a');
    const running = lan.run();
    await lan.clock.advance(1);
    lan.see('a');
    await lan.clock.advance(1);
    lan.lose('a');
    lan.good.add('a');
    await lan.clock.advance(RECONNECT_MAX);
    expect(lan.served).toEqual(['a', 'a']);
    lan.lose('a');
    lan.good.add('b');
    lan.see('a', 'down');
    lan.see('b');
    await lan.clock.advance(2 * RECONNECT_MAX);
    expect(lan.served).toEqual(['a', 'a', 'b']);
    lan.stop.abort();
    await running;
  });

  it('gives up on an address that stays silent', async () => {
    const lan = new Lan();
    lan.good.add('real');
    const running = lan.run();
    await lan.clock.advance(1);
    lan.see('silent');
    await lan.clock.advance(1);
    lan.see('real');
    await lan.clock.advance(CANDIDATE_TIMEOUT + RECONNECT_MAX);
    expect(lan.served).toEqual(['real']);
    lan.stop.abort();
    await running;
  });

  it('tries a configured address alone, ever more rarely', async () => {
    const lan = new Lan();
    const running = lan.run({ host: 'fixed', port: 1 });
    await lan.clock.advance(60_000);
    expect(new Set(lan.tried)).toEqual(new Set(['fixed']));
    expect(lan.tried.length).toBeGreaterThan(5);
    expect(lan.tried.length).toBeLessThan(30);
    lan.stop.abort();
    await running;
  });

  it('takes only a gateway of its own customer and site for its own', () => {
    const device = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' } as const;
    const gateway = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw' } as const;
    expect(isOwnGateway(device, gateway)).toBe(true);
    expect(isOwnGateway(device, { ...gateway, site: 'south' })).toBe(false);
    expect(isOwnGateway(device, { ...gateway, customer: 'other' })).toBe(false);
    expect(isOwnGateway(device, device)).toBe(false);
    expect(isOwnGateway(device, { role: 'provider', name: 'vendor' })).toBe(false);
  });
});
