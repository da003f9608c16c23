import { WardcastError } from '../base/errors.ts';
import { MAX_PATCH_OPERATIONS } from '../base/limits.ts';
import type { BitCoder } from './arithmetic.ts';
import { NumberModel } from './number-model.ts';

/**
 * How a new file is put together: for each operation `copy` bytes from `old` on (a place in the old release, its files one after the other), changed
 * here and there, and then `literal` bytes that are new.
 */
export class Operations {
  #old = new Float64Array(16);
  #copy = new Float64Array(16);
  #literal = new Float64Array(16);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  old(at: number): number {
    return this.#old[at] ?? 0;
  }

  copy(at: number): number {
    return this.#copy[at] ?? 0;
  }

  literal(at: number): number {
    return this.#literal[at] ?? 0;
  }

  add(old: number, copy: number, literal: number): void {
    if (this.#count === this.#old.length) {
      this.#old = twice(this.#old);
      this.#copy = twice(this.#copy);
      this.#literal = twice(this.#literal);
    }
    this.#old[this.#count] = old;
    this.#copy[this.#count] = copy;
    this.#literal[this.#count++] = literal;
  }
}

function twice(array: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * array.length);
  larger.set(array);
  return larger;
}

const LENGTH_CONTEXTS = 16;

/** Operations as numbers: lengths, and where a copy starts relative to where the one before would have gone on. */
export class OperationsModel {
  readonly #counts = new NumberModel(1);
  readonly #copies = new NumberModel(LENGTH_CONTEXTS);
  readonly #literals = new NumberModel(LENGTH_CONTEXTS);
  readonly #seeks = new NumberModel(LENGTH_CONTEXTS);

  codeCount(coder: BitCoder, count: number): number {
    const got = this.#counts.code(coder, count);
    if (got > MAX_PATCH_OPERATIONS) throw new WardcastError('LIMIT_EXCEEDED', `A file of a patch has ${got} operations, more than ${MAX_PATCH_OPERATIONS}`);
    return got;
  }

  /** Codes operation `at`, which is added when `operations` has not got it yet. The first one is relative to `start`. */
  code(coder: BitCoder, operations: Operations, at: number, start: number): void {
    const literalBefore = at === 0 ? 0 : operations.literal(at - 1);
    const expected = at === 0 ? start : operations.old(at - 1) + operations.copy(at - 1) + literalBefore;
    const context = Math.min(LENGTH_CONTEXTS - 1, 32 - Math.clz32(literalBefore));
    const copy = this.#copies.code(coder, operations.copy(at), context);
    const seek = copy === 0 ? 0 : this.#seeks.codeSigned(coder, operations.old(at) - expected, context);
    const literal = this.#literals.code(coder, operations.literal(at), Math.min(LENGTH_CONTEXTS - 1, 32 - Math.clz32(copy)));
    if (at === operations.count) operations.add(expected + seek, copy, literal);
  }
}
