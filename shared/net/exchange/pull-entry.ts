import { Waiters } from '../waiters.ts';
import type { Assembly } from './assembly.ts';
import type { Asked } from './line-depth.ts';
import type { ObjectRef } from './object-ref.ts';

/** One object that somebody waits for, from the first get() to its arrival. When nobody waits any more, what is on its way is let in and dropped. */
export class PullEntry extends Waiters<Buffer> {
  readonly ref: ObjectRef;
  readonly key: string;
  /** Credit it takes. */
  readonly size: number;
  readonly max: number;
  assembly: Assembly | undefined;
  /** The last time. */
  asked: Asked | undefined;
  /** Times it came and was not what it should be; asks in a row without an answer; times the other side was busy. */
  bad = 0;
  silent = 0;
  busy = 0;

  constructor(options: { ref: ObjectRef; key: string; size: number; max: number }) {
    super();
    this.ref = options.ref;
    this.key = options.key;
    this.size = options.size;
    this.max = options.max;
  }
}
