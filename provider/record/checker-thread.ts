import { parentPort } from 'node:worker_threads';
import { toWardcastError, type WardcastError } from '../../shared/base/errors.ts';
import { type Checked, Checker, type CheckTerms } from './check.ts';

/** A thread of `Checkers`: statements in, each proven or not out, in the same order. */

export interface Order extends CheckTerms {
  /** Envelopes one after the other, and where each of them ends. */
  readonly bytes: Uint8Array;
  readonly ends: readonly number[];
}
export type Answer = { readonly checked: Checked } | { readonly error: ReturnType<WardcastError['toJSON']> };

const checker = new Checker();
// node:crypto finds out by a thrown and caught error what kind of key it was given: a quarter of a verification is the stack trace of that. What is thrown
// here to be told elsewhere leaves its stack behind in any case.
Error.stackTraceLimit = 0;

parentPort?.on('message', ({ bytes, ends, ...terms }: Order) => {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const answers = ends.map((end, at): Answer => {
    try {
      return { checked: checker.check(all.subarray(ends[at - 1] ?? 0, end), terms) };
    } catch (error) {
      return { error: toWardcastError(error).toJSON() };
    }
  });
  parentPort?.postMessage(answers);
});
