import { describe, expect, it } from 'vitest';
import { MAX_QUEUED_BYTES, MAX_QUEUED_DELIVERIES } from '../../../shared/base/limits.ts';
import { DeliveryQueue, type QueuedDelivery } from '../../../shared/net/delivery-queue.ts';

const ignore = (): void => undefined;

function delivery(topic: string, bytes = 1, abandon: () => void = ignore): QueuedDelivery {
  return { topic, payload: Buffer.alloc(bytes), accept: ignore, abandon };
}

describe('A delivery queue', () => {
  it('gives out in order, before and after somebody waits', async () => {
    const queue = new DeliveryQueue(['#'], ignore);
    const reader = queue[Symbol.asyncIterator]();
    queue.push(delivery('a'));
    queue.push(delivery('b'));
    const read = [await reader.next(), await reader.next()];
    const waiting = [reader.next(), reader.next()];
    queue.push(delivery('c'));
    queue.push(delivery('d'));
    expect([...read, ...(await Promise.all(waiting))].map(({ value }) => value?.topic)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('matches topics by MQTT filters', () => {
    const queue = new DeliveryQueue(['a/+/c', 'x/#'], ignore);
    expect(['a/b/c', 'x', 'x/y/z', 'a/b', 'a/b/c/d', 'y'].filter((topic) => queue.matches(topic))).toEqual(['a/b/c', 'x', 'x/y/z']);
    queue.close();
    expect(queue.matches('x')).toBe(false);
  });

  it.each([
    ['deliveries', MAX_QUEUED_DELIVERIES, 1],
    ['bytes', 2, MAX_QUEUED_BYTES / 2],
  ])('is full at its limit of %s, and has room again when one is taken', async (_what, count, size) => {
    const queue = new DeliveryQueue(['#'], ignore);
    for (let i = 0; i < count; i++) {
      expect(queue.full).toBe(false);
      queue.push(delivery('a', size));
    }
    expect(queue.full).toBe(true);
    const room = queue.room();
    await queue[Symbol.asyncIterator]().next();
    await room;
    expect(queue.full).toBe(false);
  });

  it('ends when its signal aborts, hands back what was not read, and lets waiting senders go', async () => {
    const controller = new AbortController();
    const closed: DeliveryQueue[] = [];
    const queue = new DeliveryQueue(['#'], (which) => closed.push(which), controller.signal);
    let abandoned = 0;
    for (let i = 0; i < MAX_QUEUED_DELIVERIES; i++) queue.push(delivery('a', 1, () => abandoned++));
    const room = queue.room();
    controller.abort();
    await room;
    expect(closed).toEqual([queue]);
    expect(abandoned).toBe(MAX_QUEUED_DELIVERIES);
    expect(await queue[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
    queue.push(delivery('late', 1, () => abandoned++));
    expect(abandoned).toBe(MAX_QUEUED_DELIVERIES + 1);
  });

  it('ends when its reader leaves the loop', async () => {
    const closed: DeliveryQueue[] = [];
    const queue = new DeliveryQueue(['#'], (which) => closed.push(which));
    queue.push(delivery('a'));
    for await (const taken of queue) {
      expect(taken.topic).toBe('a');
      break;
    }
    expect(closed).toEqual([queue]);
  });
});
