import { afterEach, describe, expect, it } from 'vitest';
import { isWardcastError } from '../../shared/base/errors.ts';
import { MAX_PAYLOAD, MAX_QUEUED_DELIVERIES } from '../../shared/base/limits.ts';
import type { Broker } from '../../shared/net/broker.ts';
import { Inbox } from '../support/deliveries.ts';

/** A Broker and somebody at the other end of it. */
export interface BrokerPair {
  readonly broker: Broker;
  /** The other end: what it publishes to `inbound` the broker under test hears below `inboundFilter`, and the other way round. */
  readonly other: Broker;
  readonly inbound: string;
  readonly inboundFilter: string;
  readonly outbound: string;
  readonly outboundFilter: string;
  /** Ends the broker under test. */
  close(): Promise<void>;
  /** Ends everything. */
  dispose(): Promise<void>;
}

/**
 * What every Broker keeps to.
 * @param make a pair that is connected once `other` and `broker` have subscribed through `ready`
 */
export function brokerContract(name: string, make: () => Promise<BrokerPair>): void {
  describe(`${name} is a Broker that`, () => {
    let pair: BrokerPair | undefined;
    afterEach(async () => {
      await pair?.dispose();
      pair = undefined;
    });

    async function open(): Promise<BrokerPair> {
      pair = await make();
      return pair;
    }

    /** A subscription that stands: what is published from now on is heard. */
    async function listening(
      to: Broker,
      filter: string,
      from: Broker,
      topic: string,
      options: { accept?: boolean; signal?: AbortSignal } = {},
    ): Promise<Inbox> {
      const inbox = new Inbox(to.subscribe([filter], { signal: options.signal }), options);
      while (inbox.all.length === 0) {
        await from.publish(topic, Buffer.from('are you there?'), { qos: 0 });
        await Promise.race([inbox.first(1), new Promise((resolve) => setTimeout(resolve, 50))]);
      }
      // The probes that are still under way come before this one.
      await from.publish(topic, Buffer.from('now'), { qos: 0 });
      await inbox.with('now');
      inbox.all.length = 0;
      return inbox;
    }

    it.each([0, 1] as const)('delivers payloads of every size byte for byte, both ways, at QoS %i', async (qos) => {
      const { broker, other, inbound, inboundFilter, outbound, outboundFilter } = await open();
      const here = await listening(broker, inboundFilter, other, inbound);
      const there = await listening(other, outboundFilter, broker, outbound);
      const payloads = [0, 1, 127, 128, 16_383, 65_536, MAX_PAYLOAD].map((size) => Buffer.alloc(size, size % 251));
      for (const payload of payloads) {
        await other.publish(inbound, payload, { qos });
        await broker.publish(outbound, payload, { qos });
      }
      for (const [inbox, topic] of [
        [here, inbound],
        [there, outbound],
      ] as const) {
        const got = await inbox.first(payloads.length);
        expect(got.map((delivery) => delivery.topic)).toEqual(payloads.map(() => topic));
        expect(got.every((delivery, i) => payloads[i]?.equals(delivery.payload) === true)).toBe(true);
      }
    });

    it('keeps the order of one sender and loses nothing, however many are under way', async () => {
      const { broker, other, inbound, inboundFilter, outbound, outboundFilter } = await open();
      const here = await listening(broker, inboundFilter, other, inbound);
      const there = await listening(other, outboundFilter, broker, outbound);
      const numbers = Array.from({ length: MAX_QUEUED_DELIVERIES + 500 }, (_, i) => String(i));
      // In portions: a foreign broker drops what a subscriber is too far behind with.
      for (let at = 0; at < numbers.length; at += 50) {
        const portion = numbers.slice(at, at + 50);
        await Promise.all(portion.flatMap((text) => [other.publish(inbound, Buffer.from(text)), broker.publish(outbound, Buffer.from(text))]));
        await Promise.all([here.first(at + portion.length), there.first(at + portion.length)]);
      }
      expect(here.texts).toEqual(numbers);
      expect(there.texts).toEqual(numbers);
    });

    it('gives each of several readers its own copy', async () => {
      const { broker, other, inbound, inboundFilter } = await open();
      const first = await listening(broker, inboundFilter, other, inbound);
      const second = await listening(broker, inbound, other, inbound);
      await other.publish(inbound, Buffer.from('for both'));
      await Promise.all([first.with('for both'), second.with('for both')]);
    });

    it('goes on delivering to others when one reader has left', async () => {
      const { broker, other, inbound, inboundFilter } = await open();
      const controller = new AbortController();
      const leaving = await listening(broker, inboundFilter, other, inbound, { signal: controller.signal });
      const staying = await listening(broker, inboundFilter, other, inbound);
      controller.abort();
      await leaving.ended;
      const before = leaving.all.length;
      await other.publish(inbound, Buffer.from('after'));
      await staying.with('after');
      expect(leaving.all).toHaveLength(before);
    });

    it('delivers nothing to a reader whose signal was aborted before', async () => {
      const { broker, inboundFilter } = await open();
      const inbox = new Inbox(broker.subscribe([inboundFilter], { signal: AbortSignal.abort() }));
      await inbox.ended;
      expect(inbox.all).toEqual([]);
    });

    it('refuses a payload over the limit', async () => {
      const { broker, outbound } = await open();
      await expect(broker.publish(outbound, Buffer.alloc(MAX_PAYLOAD + 1))).rejects.toSatisfy((error) => isWardcastError(error, 'LIMIT_EXCEEDED'));
    });

    it('does not publish what was aborted before', async () => {
      const { broker, other, outbound, outboundFilter } = await open();
      const there = await listening(other, outboundFilter, broker, outbound);
      await expect(broker.publish(outbound, Buffer.from('never'), { signal: AbortSignal.abort() })).rejects.toSatisfy((error) =>
        isWardcastError(error, 'ABORTED'),
      );
      await broker.publish(outbound, Buffer.from('next'));
      await there.with('next');
      expect(there.texts).toEqual(['next']);
    });

    it('ends its subscriptions when closed, and publishes no more', async () => {
      const { broker, inboundFilter, outbound, close } = await open();
      const inbox = new Inbox(broker.subscribe([inboundFilter]));
      await close();
      await inbox.ended;
      await expect(broker.publish(outbound, Buffer.from('late'))).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
      const late = new Inbox(broker.subscribe([inboundFilter]));
      await late.ended;
    });
  });
}
