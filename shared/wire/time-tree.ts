import { createHash } from 'node:crypto';

/**
 * Many questions under one signature, as Roughtime does it (draft-ietf-ntp-roughtime, 5.2.6): the nonces are leaves of a hash tree, the provider signs
 * over the root, and each asker gets the siblings on the way up. Whoever finds its nonce below the root knows that the signature came after it. Pure.
 */

/** Leaves and nodes are hashed apart (RFC 6962, 2.1), or a node could be passed off as a nonce. */
const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);

export interface TimeTree {
  /** Hex. */
  readonly root: string;
  /** The siblings of a leaf from the bottom up, in hex. */
  path(index: number): string[];
}

/** @param nonces 64 hex digits each, at least one */
export function timeTree(nonces: readonly string[]): TimeTree {
  const levels = [nonces.map(leafHash)];
  for (let level = levels[0] ?? []; level.length > 1; ) {
    // A leaf without a neighbour is paired with itself.
    const above: string[] = [];
    for (let at = 0; at < level.length; at += 2) above.push(nodeHash(level[at] ?? '', level[at + 1] ?? level[at] ?? ''));
    levels.push(above);
    level = above;
  }
  const [root = ''] = levels.at(-1) ?? [];
  return {
    root,
    path: (index) => levels.slice(0, -1).map((level, height) => level[(index >> height) ^ 1] ?? level[index >> height] ?? ''),
  };
}

/** The root that a nonce leads to. */
export function climb(nonce: string, index: number, path: readonly string[]): string {
  let hash = leafHash(nonce);
  for (const [height, sibling] of path.entries()) hash = ((index >> height) & 1) === 1 ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
  return hash;
}

function leafHash(nonce: string): string {
  return createHash('sha256').update(LEAF).update(Buffer.from(nonce, 'hex')).digest('hex');
}

function nodeHash(left: string, right: string): string {
  return createHash('sha256').update(NODE).update(Buffer.from(left, 'hex')).update(Buffer.from(right, 'hex')).digest('hex');
}
