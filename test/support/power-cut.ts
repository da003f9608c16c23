import type { Disk } from '../../agent/handlers/disk.ts';
import type { Rows } from '../../agent/install/journal.ts';

/** Thrown by everything after the cut: nothing a dead process does takes effect. */
export class PowerCut extends Error {
  constructor(step: string) {
    super(`power cut at ${step}`);
  }
}

/**
 * Counts the steps of a process (every file operation, every durable write) and dies at the one asked for: before it takes effect, or just
 * after, so that nobody learns that it did.
 */
export class Fuse {
  readonly steps: string[] = [];
  #left: number;
  readonly #after: boolean;
  #dead = false;

  /** @param at steps that succeed; Infinity: counts only */
  constructor(at = Number.POSITIVE_INFINITY, { after = false }: { after?: boolean } = {}) {
    this.#left = at;
    this.#after = after;
  }

  get dead(): boolean {
    return this.#dead;
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.#dead) throw new PowerCut(name);
    this.steps.push(name);
    if (this.#left-- > 0) {
      const result = await work();
      // It died while this was under way: the caller is no more.
      if (this.#dead) throw new PowerCut(name);
      return result;
    }
    this.#dead = true;
    if (this.#after) await work();
    throw new PowerCut(name);
  }
}

/** A disk, and the files opened on it, whose every operation is a step. */
export function fusedDisk(disk: Disk, fuse: Fuse): Disk {
  return new Proxy(disk, {
    get(target, name) {
      const operation: unknown = Reflect.get(target, name);
      if (typeof operation !== 'function') return operation;
      return (...args: unknown[]) =>
        fuse.step(`disk.${String(name)}`, async () => {
          const result: unknown = await Reflect.apply(operation, target, args);
          if (name !== 'open') return result;
          if (fuse.dead) await closeQuietly(result);
          return fusedHandle(result, fuse);
        });
    },
  });
}

/** A dead process keeps no file open. */
async function closeQuietly(handle: unknown): Promise<void> {
  if (typeof handle === 'object' && handle !== null && 'close' in handle && typeof handle.close === 'function') await handle.close();
}

function fusedHandle(handle: unknown, fuse: Fuse): unknown {
  if (typeof handle !== 'object' || handle === null) return handle;
  return new Proxy(handle, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      // Closing frees what a dead process would lose anyhow.
      if (name === 'close') return () => Reflect.apply(value, target, []);
      return (...args: unknown[]) => fuse.step(`file.${String(name)}`, async () => Reflect.apply(value, target, args));
    },
  });
}

/** Durable rows that outlive the process that wrote them. */
export class MemoryRows<V> implements Rows<V> {
  readonly #rows: Map<string, V>;

  constructor(rows = new Map<string, V>()) {
    this.#rows = rows;
  }

  async get(key: string): Promise<V | undefined> {
    return this.#rows.get(key);
  }

  async put(key: string, value: V): Promise<void> {
    this.#rows.set(key, structuredClone(value));
  }

  async delete(key: string): Promise<void> {
    this.#rows.delete(key);
  }

  async *entries({ prefix = '' }: { prefix?: string; limit?: number } = {}): AsyncGenerator<readonly [string, V]> {
    for (const [key, value] of [...this.#rows]) if (key.startsWith(prefix)) yield [key, value];
  }
}

export function fusedRows<V>(rows: Rows<V>, fuse: Fuse): Rows<V> {
  return {
    get: (key) => fuse.step('rows.get', () => rows.get(key)),
    put: (key, value) => fuse.step('rows.put', () => rows.put(key, value)),
    delete: (key) => fuse.step('rows.delete', () => rows.delete(key)),
    entries: (options) => rows.entries(options),
  };
}
