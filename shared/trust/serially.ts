const tails = new Map<string, Promise<unknown>>();

/** Runs work under one key one after another, within this process. */
export async function serially<T>(key: string, work: () => Promise<T>): Promise<T> {
  const before = tails.get(key) ?? Promise.resolve();
  // Whether the one before succeeded is its own caller's business.
  const mine = before.then(work, work);
  tails.set(key, mine);
  try {
    return await mine;
  } finally {
    if (tails.get(key) === mine) tails.delete(key);
  }
}
