import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { Uploads } from '../../../provider/api/uploads.ts';
import { MAX_MANIFEST, MAX_PARTIAL_UPLOADS, MAX_PAYLOAD } from '../../../shared/base/limits.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { cut, parseUploadTopic, partsOf, uploadTopic } from '../../../shared/net/exchange/object-ref.ts';
import { MemoryChunkStore } from '../../../shared/store/memory-chunk-store.ts';
import { parseUp } from '../../../shared/wire/topics.ts';

const alice = 'ops/alice';
const bob = 'ops/bob';
const large = randomBytes(2 * MAX_PAYLOAD + 100);
const hash = sha256(large);

/** A store whose puts wait until they are let through. */
class SlowStore extends MemoryChunkStore {
  readonly #gate = Promise.withResolvers<void>();

  open(): void {
    this.#gate.resolve();
  }

  override async put(name: string, bytes: Buffer): Promise<void> {
    await this.#gate.promise;
    await super.put(name, bytes);
  }
}

let store: MemoryChunkStore;
let uploads: Uploads;
beforeEach(() => {
  store = new MemoryChunkStore();
  uploads = new Uploads([store]);
  uploads.expect(hash, store, large.length);
});
const send = (part: number, from = alice, bytes = cut(large, part)): Promise<void> => uploads.take(from, { hash, part, parts: 3 }, bytes);

describe('an upload in parts', () => {
  it('becomes the object when the last part is there, whatever the order and however often parts come', async () => {
    for (const part of [2, 0, 2, 0]) await send(part);
    expect(await store.has(hash)).toBe(false);
    await send(1);
    expect((await store.get(hash)).equals(large)).toBe(true);
    expect(uploads.partialBytes).toBe(0);
    await send(1);
    expect(uploads.partialBytes).toBe(0);
  });

  it('resolves for the part that completes it only when the object is stored', async () => {
    const slow = new SlowStore();
    uploads = new Uploads([slow]);
    uploads.expect(hash, slow, large.length);
    await send(0);
    await send(1);
    let done = false;
    const last = send(2).then(() => {
      done = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    slow.open();
    await last;
    expect(await slow.has(hash)).toBe(true);
  });

  it('is not stored, and not kept, when it is not what was signed', async () => {
    await send(0);
    await send(1);
    await expect(send(2, alice, Buffer.alloc(100))).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    await send(0);
    await send(1);
    await expect(send(2, alice, Buffer.alloc(99))).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    await send(0);
    await send(1);
    await expect(send(2, alice, Buffer.alloc(101))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect(await store.has(hash)).toBe(false);
    expect(uploads.partialBytes).toBe(0);
    for (const part of [0, 1, 2]) await send(part);
    expect(await store.has(hash)).toBe(true);
  });

  it('is never put together from what two people sent, and dropped for both when one is done', async () => {
    await send(0);
    await send(1, bob);
    await send(2, bob);
    expect(await store.has(hash)).toBe(false);
    await send(0, bob);
    expect(await store.has(hash)).toBe(true);
    expect(uploads.partialBytes).toBe(0);
  });

  it('is dropped when its sender goes away', async () => {
    await send(0);
    await send(1);
    await send(0, bob);
    uploads.abandon(alice);
    expect(uploads.partialBytes).toBe(MAX_PAYLOAD);
    await send(2);
    expect(await store.has(hash)).toBe(false);
  });

  it('gives way to newer ones, so that one sender never holds more than a manifest may have', async () => {
    const parts = partsOf(MAX_MANIFEST);
    const names = ['a', 'b', 'c'].map((digit) => digit.repeat(64));
    for (const name of names) uploads.expect(name, store, MAX_MANIFEST);
    const part = Buffer.alloc(MAX_PAYLOAD);
    for (const name of names) {
      for (let at = 0; at < parts - 1; at++) {
        await uploads.take(alice, { hash: name, part: at, parts }, part);
        expect(uploads.partialBytes).toBeLessThanOrEqual(MAX_PARTIAL_UPLOADS);
      }
    }
    await send(0, bob);
    expect(uploads.partialBytes).toBeLessThanOrEqual(MAX_PARTIAL_UPLOADS + MAX_PAYLOAD);
  });

  it('is refused when nobody offered it, or when it is cut into more parts than it needs', async () => {
    await expect(uploads.take(alice, { hash: 'd'.repeat(64), part: 0, parts: 3 }, cut(large, 0))).rejects.toMatchObject({ code: 'DENIED' });
    await expect(uploads.take(alice, { hash, part: 0, parts: 999_999 }, Buffer.from('x'))).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' });
    await expect(uploads.take(alice, { hash, part: 0, parts: 1 }, cut(large, 0))).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' });
    expect(() => uploads.expect('e'.repeat(64), store, MAX_MANIFEST + 1)).toThrow('at most');
    expect(uploads.partialBytes).toBe(0);
  });
});

describe('the topic of an upload', () => {
  it('is read back, and nothing else is', () => {
    const piece = { hash, part: 2, parts: 3 };
    const said = parseUp(uploadTopic({ role: 'ops', name: 'alice' }, piece));
    expect(said?.verb).toBe('object');
    expect(parseUploadTopic(said?.rest ?? [])).toEqual(piece);
    for (const rest of [
      [],
      [hash],
      [hash, '0'],
      [hash, '3', '3'],
      [hash, '0', '0'],
      [hash, '-1', '3'],
      [hash, '00', '3'],
      ['x', '0', '1'],
      [hash, '0', '1', '2'],
    ]) {
      expect(parseUploadTopic(rest), rest.join('/')).toBeUndefined();
    }
  });
});
