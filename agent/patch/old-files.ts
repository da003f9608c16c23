import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { WardcastError } from '../../shared/base/errors.ts';
import type { Reader, TreeFile } from '../../shared/delta/tree.ts';

/** Open at once. */
const OPEN = 16;

export interface OldFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/**
 * The files of an installed release, read in place where a patch copies from them. Synchronously: for a thread that has nothing else to do. Reading throws
 * OBJECT_ABSENT when a file is shorter than its manifest says, and what the disk throws.
 */
export class OldFiles {
  readonly files: readonly TreeFile[];
  readonly #directory: string;
  readonly #open = new Map<string, number>();

  constructor(directory: string, files: readonly OldFile[]) {
    this.#directory = directory;
    this.files = files.map((file) => ({ ...file, reader: this.#reader(file) }));
  }

  [Symbol.dispose](): void {
    for (const handle of this.#open.values()) closeSync(handle);
    this.#open.clear();
  }

  #reader({ path, size }: OldFile): Reader {
    return {
      size,
      read: (buffer, position) => {
        const handle = this.#handle(path);
        for (let filled = 0; filled < buffer.length; ) {
          const count = readSync(handle, buffer, filled, buffer.length - filled, position + filled);
          if (count === 0) throw new WardcastError('OBJECT_ABSENT', `${path} of the installed release is shorter than it was when it was installed`);
          filled += count;
        }
      },
    };
  }

  #handle(path: string): number {
    const known = this.#open.get(path);
    if (known !== undefined) return known;
    const [oldest] = this.#open.size >= OPEN ? this.#open : [];
    if (oldest !== undefined) {
      closeSync(oldest[1]);
      this.#open.delete(oldest[0]);
    }
    const handle = openSync(join(this.#directory, path), constants.O_RDONLY | constants.O_NOFOLLOW);
    this.#open.set(path, handle);
    return handle;
  }
}
