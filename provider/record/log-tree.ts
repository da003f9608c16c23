import { HASH_SIZE, leafHash, type Nodes, nodeHash, nodesOf, rootOf } from '../../shared/bundle/merkle.ts';

/** Hashes in one tile. */
export const TILE = 256;
/** Levels of the tree from one row of tiles to the next. */
const HEIGHT = 8;
/** Tiles and nodes between tiles that are remembered: 0.5 MB, and about 1 MB. */
const TILES_KEPT = 64;
const NODES_KEPT = 8192;

/** Where complete tiles lie: row `level`, number `index` in it, 256 hashes of 32 bytes each. */
export interface Tiles {
  get(level: number, index: number): Buffer | undefined;
}

/**
 * The Merkle tree over the log's entries (RFC 9162): leaf n-1 is the chain hash of entry n. Kept as in https://c2sp.org/tlog-tiles: every 256 hashes of a
 * row are one tile, written once when it is complete; its own hash is one of the row above. What is not complete yet is rebuilt from the log at start.
 */
export class LogTree {
  readonly #tiles: Tiles;
  readonly #leaf: (sequence: number) => string;
  /** By row: the hashes that no complete tile holds yet. */
  readonly #edges: Buffer[][] = [];
  readonly #kept = new Map<string, Buffer>();
  readonly #between = new Map<string, Buffer>();
  #size = 0;

  /**
   * @param leaf chain hash of an entry, in hex
   * @throws LOG_BROKEN and what `leaf` throws
   */
  constructor(tiles: Tiles, size: number, leaf: (sequence: number) => string) {
    this.#tiles = tiles;
    this.#leaf = leaf;
    this.#open(size);
  }

  get size(): number {
    return this.#size;
  }

  /** Returns the tiles that this entry completes; they must become durable together with it. */
  append(hash: string): { level: number; index: number; bytes: Buffer }[] {
    const complete: { level: number; index: number; bytes: Buffer }[] = [];
    let node = leafHash(Buffer.from(hash, 'hex'));
    const index = this.#size++;
    for (let level = 0; ; level++) {
      const edge = this.#edges[level] ?? [];
      this.#edges[level] = edge;
      edge.push(node);
      if (edge.length < TILE) return complete;
      const bytes = Buffer.concat(edge);
      const tile = { level, index: Math.floor(index / TILE ** (level + 1)), bytes };
      complete.push(tile);
      this.#keep(`${level}/${tile.index}`, bytes);
      node = rootOf(nodesOf(edge), TILE);
      this.#edges[level] = [];
    }
  }

  /** Any complete subtree. */
  readonly nodes: Nodes = (level, index) => {
    const row = Math.floor(level / HEIGHT);
    if (level % HEIGHT === 0) {
      const tile = Math.floor(index / TILE);
      const at = index % TILE;
      if ((tile + 1) * TILE ** (row + 1) <= this.#size) return this.#tile(row, tile).subarray(at * HASH_SIZE, (at + 1) * HASH_SIZE);
      const edge = this.#edges[row]?.[at];
      if (edge !== undefined) return edge;
      throw new RangeError(`the tree has no node ${level}/${index}`);
    }
    const name = `${level}/${index}`;
    const known = this.#between.get(name);
    if (known !== undefined) return known;
    const node = nodeHash(this.nodes(level - 1, 2 * index), this.nodes(level - 1, 2 * index + 1));
    if (this.#between.size >= NODES_KEPT) this.#between.clear();
    this.#between.set(name, node);
    return node;
  };

  root(size: number): Buffer {
    return rootOf(this.nodes, size);
  }

  #open(size: number): void {
    this.#size = size;
    for (let row = 0, count = size; count > 0; row++, count = Math.floor(count / TILE)) {
      const first = count - (count % TILE);
      this.#edges[row] = Array.from({ length: count - first }, (_, at) => this.#hash(row, first + at));
    }
  }

  /** One hash of a row, from the row below. */
  #hash(row: number, index: number): Buffer {
    if (row === 0) return leafHash(Buffer.from(this.#leaf(index + 1), 'hex'));
    return tileHash(this.#tile(row - 1, index));
  }

  /** A complete tile. One that is not there (an older data folder) is computed from the log: it costs time, not truth. */
  #tile(row: number, index: number): Buffer {
    const name = `${row}/${index}`;
    const tile =
      this.#kept.get(name) ?? this.#tiles.get(row, index) ?? Buffer.concat(Array.from({ length: TILE }, (_, at) => this.#hash(row, index * TILE + at)));
    this.#keep(name, tile);
    return tile;
  }

  /** Least recently used first, as a Map keeps insertion order. */
  #keep(name: string, bytes: Buffer): void {
    this.#kept.delete(name);
    this.#kept.set(name, bytes);
    if (this.#kept.size <= TILES_KEPT) return;
    const oldest = this.#kept.keys().next().value;
    if (oldest !== undefined) this.#kept.delete(oldest);
  }
}

function tileHash(tile: Buffer): Buffer {
  return rootOf(nodesOf(Array.from({ length: TILE }, (_, at) => tile.subarray(at * HASH_SIZE, (at + 1) * HASH_SIZE))), TILE);
}
