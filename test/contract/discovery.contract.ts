import { randomUUID } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Advertised, Discovery, DiscoveryKind, Sighting } from '../../shared/net/discovery.ts';

export interface DiscoveryRig {
  /** A host of its own on the same LAN. */
  host(): Discovery;
  /** Where that host's adverts are seen to come from; undefined: not known. */
  readonly address: string | undefined;
  /** Lets pass what searching, and what noticing a silent death takes. */
  search(): Promise<void>;
  expire(): Promise<void>;
  /** Another host that advertises this; the result ends it without a good-bye. */
  mortal(what: Advertised): Promise<() => Promise<void>>;
}

/** Everything a browse reports, as it comes. */
export function watch(
  discovery: Discovery,
  kind: DiscoveryKind,
): { readonly seen: Sighting[]; has(type: Sighting['type'], instance: string): boolean; stop(): Promise<void> } {
  const controller = new AbortController();
  const seen: Sighting[] = [];
  const running = (async () => {
    for await (const sighting of discovery.browse(kind, { signal: controller.signal })) seen.push(sighting);
  })();
  const stop = async (): Promise<void> => {
    controller.abort();
    await running;
  };
  onTestFinished(stop);
  return { seen, stop, has: (type, instance) => seen.some((sighting) => sighting.type === type && sighting.instance === instance) };
}

/** What every Discovery keeps to. */
export function discoveryContract(name: string, make: () => Promise<DiscoveryRig>): void {
  describe(`${name} is a Discovery that`, () => {
    const until = async (rig: DiscoveryRig, condition: () => boolean): Promise<void> => {
      while (!condition()) await rig.search();
    };

    it('finds who advertises, whoever came first', async () => {
      const rig = await make();
      const [early, late] = [randomUUID(), randomUUID()];
      await rig.host().advertise({ kind: 'gateway', port: 8883, instance: early });
      const { has, seen } = watch(rig.host(), 'gateway');
      await until(rig, () => has('up', early));
      await rig.host().advertise({ kind: 'gateway', port: 8884, instance: late });
      await until(rig, () => has('up', late));
      expect(seen.find(({ instance }) => instance === late)).toMatchObject({
        type: 'up',
        port: 8884,
        ...(rig.address === undefined ? {} : { address: rig.address }),
      });
    });

    it('tells each one once, however often it answers', async () => {
      const rig = await make();
      const instance = randomUUID();
      await rig.host().advertise({ kind: 'agent', port: 1, instance });
      const { has, seen } = watch(rig.host(), 'agent');
      await until(rig, () => has('up', instance));
      await rig.search();
      await rig.search();
      expect(seen.filter((sighting) => sighting.instance === instance).length).toBe(1);
    });

    it('keeps gateways and agents apart', async () => {
      const rig = await make();
      const [gateway, agent] = [randomUUID(), randomUUID()];
      const host = rig.host();
      await host.advertise({ kind: 'gateway', port: 1, instance: gateway });
      await host.advertise({ kind: 'agent', port: 2, instance: agent });
      const gateways = watch(rig.host(), 'gateway');
      const agents = watch(rig.host(), 'agent');
      await until(rig, () => gateways.has('up', gateway) && agents.has('up', agent));
      expect(gateways.has('up', agent)).toBe(false);
      expect(agents.has('up', gateway)).toBe(false);
    });

    it('tells when somebody says good-bye', async () => {
      const rig = await make();
      const instance = randomUUID();
      const advert = await rig.host().advertise({ kind: 'agent', port: 1, instance });
      const { has } = watch(rig.host(), 'agent');
      await until(rig, () => has('up', instance));
      await advert.close();
      await advert.close();
      await until(rig, () => has('down', instance));
    });

    it('notices a death without good-bye, and keeps who still answers', async () => {
      const rig = await make();
      const [dead, alive] = [randomUUID(), randomUUID()];
      const kill = await rig.mortal({ kind: 'agent', port: 1, instance: dead });
      await rig.host().advertise({ kind: 'agent', port: 2, instance: alive });
      const { has } = watch(rig.host(), 'agent');
      await until(rig, () => has('up', dead) && has('up', alive));
      await kill();
      for (let wait = 0; wait < 20 && !has('down', dead); wait++) await rig.expire();
      expect(has('down', dead)).toBe(true);
      expect(has('down', alive)).toBe(false);
    });

    it('ends its browses when closed', async () => {
      const rig = await make();
      const host = rig.host();
      const running = (async () => {
        for await (const _ of host.browse('gateway'));
      })();
      await rig.search();
      await host.close();
      await running;
      await expect(host.advertise({ kind: 'agent', port: 1, instance: randomUUID() })).rejects.toThrow();
    });
  });
}
