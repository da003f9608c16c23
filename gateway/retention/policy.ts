export interface StoredChunk {
  readonly hash: string;
  /** Bytes. */
  readonly size: number;
  /** When a view last stopped needing it, milliseconds since 1970; 0: nobody knows of any. */
  readonly retiredAt: number;
}

/**
 * Which chunks to delete so that at most `budget` bytes stay. Pure.
 * Laws: a needed chunk is never among them; nothing goes while the budget holds; the longest unneeded goes first, and no more than necessary.
 * What is needed may exceed the budget: then all else goes, and the rest is for the operator.
 */
export function chunksToDelete(stored: Iterable<StoredChunk>, needed: ReadonlySet<string>, budget: number): StoredChunk[] {
  const spare: StoredChunk[] = [];
  let total = 0;
  for (const chunk of stored) {
    total += chunk.size;
    if (!needed.has(chunk.hash)) spare.push(chunk);
  }
  spare.sort((a, b) => a.retiredAt - b.retiredAt || (a.hash < b.hash ? -1 : 1));
  const victims: StoredChunk[] = [];
  for (const chunk of spare) {
    if (total <= budget) break;
    victims.push(chunk);
    total -= chunk.size;
  }
  return victims;
}
