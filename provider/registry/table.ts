/** An ordered table of bytes: what the registry needs of a database. */
export interface Table {
  /** Synchronous, since decisions are taken one after the other on the newest rows. */
  get(key: string): Buffer | undefined;
  /** Keys in [from, to), ascending, as of the moment of the call. */
  scan(from: string, to: string): AsyncIterable<readonly [key: string, value: Buffer]>;
  /** As scan, many at a time: for whoever reads all of a large table. */
  batches(from: string, to: string): AsyncIterable<readonly (readonly [key: string, value: Buffer])[]>;
  /** All or nothing, and durable when it resolves. */
  commit(writes: ReadonlyMap<string, Buffer | undefined>): Promise<void>;
  /** Two or more scans that see the same moment. */
  frozen(): FrozenTable;
  close(): Promise<void>;
}
export interface FrozenTable {
  get(key: string): Buffer | undefined;
  scan(from: string, to: string): AsyncIterable<readonly [key: string, value: Buffer]>;
  release(): Promise<void>;
}
