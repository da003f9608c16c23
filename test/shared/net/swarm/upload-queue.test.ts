import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_ASKS } from '../../../../shared/base/limits.ts';
import { type Upload, UploadQueue } from '../../../../shared/net/swarm/upload-queue.ts';

const upload = (to: string, index: number, manifest = 'm'): Upload<string> => ({ to, manifest, index, bytes: 10 + index });
const all = (): boolean => true;

function drain(queue: UploadQueue<string>, may: (to: string) => boolean = all): string[] {
  const taken: string[] = [];
  for (let next = queue.next(may); next !== undefined; next = queue.next(may)) taken.push(`${next.to}${next.index}`);
  return taken;
}

describe('the upload queue', () => {
  it('lets receivers take turns', () => {
    const queue = new UploadQueue<string>();
    for (let index = 0; index < 3; index++) queue.ask(upload('a', index));
    for (let index = 3; index < 6; index++) queue.ask(upload('b', index));
    expect(drain(queue).map((name) => name[0])).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
  });

  it('sends what was passed on least first', () => {
    const queue = new UploadQueue<string>();
    queue.ask(upload('a', 1));
    expect(drain(queue)).toEqual(['a1']);
    queue.ask(upload('b', 1));
    queue.ask(upload('b', 2));
    queue.ask(upload('c', 1));
    expect(drain(queue)).toEqual(['b2', 'c1', 'b1']);
  });

  it('passes over whom nothing can be sent to', () => {
    const queue = new UploadQueue<string>();
    queue.ask(upload('a', 1));
    queue.ask(upload('b', 2));
    expect(drain(queue, (to) => to === 'b')).toEqual(['b2']);
    expect(queue.bytes).toBe(11);
  });

  it('refuses the ask after MAX_ASKS of one receiver, and takes those of others', () => {
    const queue = new UploadQueue<string>();
    for (let index = 0; index < MAX_ASKS; index++) expect(queue.ask(upload('a', index))).toBe(true);
    expect(queue.ask(upload('a', MAX_ASKS))).toBe(false);
    expect(queue.ask(upload('b', 0))).toBe(true);
  });

  it('gives each ask that was not taken back exactly once, and counts its bytes exactly', () => {
    const event = fc.record({
      do: fc.constantFrom('ask', 'ask', 'ask', 'cancel', 'drop', 'leave', 'next'),
      to: fc.constantFrom('a', 'b', 'c'),
      index: fc.nat(6),
      manifest: fc.constantFrom('m', 'n'),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const queue = new UploadQueue<string>();
        let waiting: Upload<string>[] = [];
        const takes = (one: Upload<string> | undefined): void => {
          const at = waiting.findIndex((other) => other.to === one?.to && other.index === one.index && other.manifest === one.manifest);
          expect(at).toBeGreaterThanOrEqual(0);
          waiting.splice(at, 1);
        };
        for (const { do: what, to, index, manifest } of events) {
          if (what === 'ask') {
            queue.ask(upload(to, index, manifest));
            waiting.push(upload(to, index, manifest));
          } else if (what === 'cancel') {
            queue.cancel(to, manifest, index);
            const at = waiting.findIndex((other) => other.to === to && other.index === index && other.manifest === manifest);
            if (at >= 0) waiting.splice(at, 1);
          } else if (what === 'drop') {
            queue.drop(to);
            waiting = waiting.filter((other) => other.to !== to);
          } else if (what === 'leave') {
            queue.drop(to, manifest);
            waiting = waiting.filter((other) => other.to !== to || other.manifest !== manifest);
          } else if (waiting.length > 0) takes(queue.next(all));
          else expect(queue.next(all)).toBeUndefined();
          expect(queue.bytes).toBe(waiting.reduce((sum, { bytes }) => sum + bytes, 0));
        }
        while (waiting.length > 0) takes(queue.next(all));
        expect(queue.next(all)).toBeUndefined();
      }),
    );
  });
});
